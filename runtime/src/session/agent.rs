//! One run of an agent: its program is fit, gets its prompt, and is listened to until it ends.
//!
//! A failure that passes, such as too many requests at the model's provider, is tried again after a
//! pause that doubles.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use config::contract::session::SessionState;
use config::private;
use config::runtime::commands::Commands;
use serde_json::json;

use super::Ending;
use super::asking::language;
use super::attended::{Attended, Recorder, Told, attend};
use super::gate;
use super::halt::{self, Held, Order};
use super::live::Live;
use super::outgoing;
use super::prompt;
use super::run::{Agency, stopped};
use super::spending::Meter;
use super::verdict::AgentEnd;
use super::workshop::{WorkError, Workshop};
use crate::approval::rules::{self, Asking, Freedom};
use crate::folder::SessionFolder;
use crate::provider::dialect::Spent;
use crate::provider::{Command, version};
use crate::store::NewEvent;

/// What an agent's run came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Worked {
    /// How it ended; breaks with the session's end if that may not go on.
    pub(super) end: ControlFlow<Ending, AgentEnd>,
    /// What it said last.
    pub(super) last_words: String,
}

impl Agency {
    /// Has the provider's program work on a prompt.
    pub(super) async fn agent(
        &self,
        workshop: &Workshop<'_>,
        iteration: u32,
        prompt: &str,
    ) -> Result<Worked, WorkError> {
        let live = workshop.live;
        let mut attempt = 1;
        loop {
            let (end, told) = self.attempt(workshop, iteration, prompt).await?;
            let last_words = told.last_words.clone();
            let worked = |end| Ok(Worked { end, last_words });
            let end = match end {
                Attended::Exited(code) => end_of(code, &told),
                Attended::Cut(reason) => AgentEnd::Cut(reason),
                Attended::Stopped => return worked(ControlFlow::Break(stopped(live))),
                Attended::Rejected { by, reason } => {
                    return worked(ControlFlow::Break(Ending::rejected(&by, &reason)));
                }
                Attended::Unanswered(why) => {
                    if unanswered(workshop, why).await? == Held::Stopped {
                        return worked(ControlFlow::Break(stopped(live)));
                    }
                    continue;
                }
            };
            note_end(live, iteration, &end).await?;
            let passes = told.outcome.is_transient || end == AgentEnd::Exited(TEMPFAIL);
            if !passes || attempt == ATTEMPTS_MAX {
                return worked(ControlFlow::Continue(end));
            }
            let pause = pause_after(attempt, self.settings().sessions.retry_pause);
            let data = json!({
                "iteration": iteration,
                "attempt": attempt,
                "reason": told.outcome.trouble,
                "pause_seconds": pause.as_secs_f64(),
            });
            live.happened(vec![NewEvent::new("retry", data)]).await?;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = live.stop_asked() => {}
            }
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        workshop: &Workshop<'_>,
        iteration: u32,
        prompt: &str,
    ) -> Result<(Attended, Told), WorkError> {
        let Workshop {
            live,
            folder,
            trail,
            ..
        } = *workshop;
        let provider = &live.assignment().provider;
        let input = folder.directory().join(format!("prompt-{iteration}.txt"));
        write(&input, prompt)?;
        let details = json!({
            "provider": provider.name(),
            "program": provider.program(),
            "iteration": iteration,
            "prompt_bytes": prompt.len(),
        });
        trail
            .tell(live, "provider_invoke", provider.name(), details)
            .await?;
        let log = folder.output_log(iteration);
        let mut recorder = match language(live) {
            None => Recorder::telling(&log, iteration, provider)?,
            Some(_) => Recorder::conversing(&log, iteration, provider)?,
        };
        let (way_out, decisions) = self.way_out();
        let (program_and_arguments, place) = self.command_line(workshop)?;
        let mut confined = self.sandbox().confine(
            &live.assignment().profile,
            folder,
            program_and_arguments,
            provider.variables().clone(),
            Some(input),
            way_out,
        );
        confined.give_port().map_err(WorkError::Port)?;
        let mut asking = None;
        if let Some(place) = &place {
            let counter = self.open_counter(workshop, place, prompt)?;
            confined.environment.extend(counter.variables().clone());
            self.sandbox().let_ask(&mut confined, folder, place)?;
            asking = Some(counter);
        }
        let (since, held) = (Instant::now(), live.held());
        live.set_at_work(true);
        let bounds = self.bounds(self.settings().sessions.iteration_timeout);
        let mut meter = Meter::new(self, workshop);
        let watched = Some(&mut meter);
        let asks = asking.as_mut();
        let attended = attend(workshop, confined, bounds, &mut recorder, asks, watched);
        let recorded = outgoing::record(live, trail, provider.name(), decisions);
        let (attended, recorded) = tokio::join!(attended, recorded);
        live.set_at_work(false);
        recorded?;
        let worked = since.elapsed().saturating_sub(live.held() - held);
        if let Some(outcome) = asking.and_then(|asking| asking.outcome()) {
            recorder.heard(outcome);
        }
        let told = recorder.finish(workshop).await?;
        account(live, provider, &told, worked).await?;
        Ok((attended?, told))
    }

    /// Asks a vendor's program for its version, once for each session, refuses one whose events are
    /// not understood, and says what of it can be enforced.
    pub(super) async fn demand_fitness(&self, workshop: &Workshop<'_>) -> Result<(), WorkError> {
        let live = workshop.live;
        let provider = &live.assignment().provider;
        let Some(needs) = provider.needs() else {
            return Ok(());
        };
        if live.fit().is_some() {
            return Ok(());
        }
        let ask = vec![provider.program().into(), "--version".into()];
        let none = BTreeMap::new();
        let profile = &live.assignment().profile;
        let sandbox = self.sandbox();
        let confined = sandbox.confine(profile, workshop.folder, ask, none, None, None);
        let asked = self
            .sandbox()
            .run(confined, VERSION_BYTES_MAX, VERSION_WITHIN);
        let said = asked.await.map_err(|error| WorkError::Provider {
            program: provider.program().to_owned(),
            why: error.to_string(),
            fix: needs.fix,
        })?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let fit = version::judge(provider.program(), &said, needs)?;
        let data = json!({
            "provider": provider.name(),
            "version": fit.version,
            "dialect": provider.dialect().name(),
            "gates": if fit.asks { "operation" } else { "checkpoint" },
        });
        let asks = provider.asks().filter(|_| fit.asks);
        let asking = asks.map_or(Asking::Never, Asking::by);
        live.set_fit(fit);
        let blocks_more = self.settings().commands != Commands::default();
        live.update(vec![NewEvent::new("provider", data)], |view| {
            let freedom = Freedom {
                mode: view.autonomy_mode,
                staged: view.staged_autonomy,
            };
            let rows = rules::enforcement(freedom, provider.name(), blocks_more, asking);
            let known = &mut view.effective_enforcement;
            known.retain(|row| rows.iter().all(|new| new.control != row.control));
            known.extend(rows);
        })
        .await?;
        Ok(())
    }
}

/// Pauses a session for whose agent nobody decided in time; its tree is gone.
async fn unanswered(workshop: &Workshop<'_>, why: String) -> Result<Held, WorkError> {
    let live = workshop.live;
    gate::return_to(live, SessionState::Running).await?;
    live.ask_to_pause(Order::by_runtime(why));
    halt::hold(live, workshop.trail).await
}

async fn note_end(live: &Live, iteration: u32, end: &AgentEnd) -> Result<(), WorkError> {
    let text = match end {
        AgentEnd::Exited(code) => format!("the agent's program ended with {code}"),
        AgentEnd::GaveUp(reason) => format!("the agent gave up: {reason}"),
        AgentEnd::Cut(reason) => format!("the agent was ended: {reason}"),
    };
    let data = json!({ "iteration": iteration, "text": text });
    live.happened(vec![NewEvent::new("note", data)]).await?;
    Ok(())
}

/// Returns the end of what the agent of an iteration wrote, as an earlier run kept it.
pub(super) fn last_output(folder: &SessionFolder, iteration: usize) -> String {
    let number = u32::try_from(iteration).unwrap_or(u32::MAX);
    // There is none before the first iteration, and it only helps.
    let bytes = std::fs::read(folder.output_log(number)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    prompt::tail(&text, LAST_OUTPUT_BYTES_MAX).to_owned()
}

/// Adds what a run used to the session.
async fn account(
    live: &Live,
    provider: &Command,
    told: &Told,
    worked: Duration,
) -> Result<(), WorkError> {
    let outcome = &told.outcome;
    let usd = cost(provider, outcome.spent);
    live.update(Vec::new(), |view| {
        let usage = &mut view.usage;
        let spent = outcome.spent;
        usage.input_tokens = usage.input_tokens.saturating_add(spent.input_tokens);
        usage.cached_input_tokens = usage
            .cached_input_tokens
            .saturating_add(spent.cached_input_tokens);
        usage.output_tokens = usage.output_tokens.saturating_add(spent.output_tokens);
        usage.tool_calls = usage.tool_calls.saturating_add(outcome.tool_calls.into());
        usage.work_seconds += worked.as_secs_f64();
        match usd {
            Some(usd) => view.cost_usd = Some(view.cost_usd.unwrap_or(0.0) + usd),
            None => usage.cost_is_partial = true,
        }
    })
    .await?;
    Ok(())
}

/// Returns the cost of a run: what the program says, else what the operator's prices give.
pub(super) fn cost(provider: &Command, spent: Spent) -> Option<f64> {
    if spent.usd.is_some() {
        return spent.usd;
    }
    let price = provider.price()?;
    if spent == Spent::default() {
        return None;
    }
    let fresh = spent.input_tokens.saturating_sub(spent.cached_input_tokens);
    Some(
        (millions(fresh) * price.input)
            + (millions(spent.cached_input_tokens) * price.cached_input)
            + (millions(spent.output_tokens) * price.output),
    )
}

/// Turns a number of tokens into millions of them.
fn millions(tokens: u64) -> f64 {
    // More than this many tokens no session ever uses.
    f64::from(u32::try_from(tokens).unwrap_or(u32::MAX)) / 1e6
}

/// Tells how an agent ended whose program ended by itself. One that speaks a dialect has to say that
/// it is done; the exit code alone is not enough.
fn end_of(code: i32, told: &Told) -> AgentEnd {
    if !told.speaks || code != 0 {
        return match &told.outcome.trouble {
            Some(trouble) if told.speaks => AgentEnd::GaveUp(trouble.clone()),
            Some(_) | None => AgentEnd::Exited(code),
        };
    }
    if told.outcome.is_done {
        return AgentEnd::Exited(0);
    }
    let trouble = told.outcome.trouble.clone();
    AgentEnd::GaveUp(
        trouble.unwrap_or_else(|| "it ended without saying that it is done".to_owned()),
    )
}

fn pause_after(attempt: u32, first: Duration) -> Duration {
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
    first.saturating_mul(doubled).min(PAUSE_MAX)
}

fn write(path: &Path, text: &str) -> Result<(), WorkError> {
    private::replace_file(path, text.as_bytes()).map_err(|source| WorkError::File {
        path: path.to_owned(),
        source,
    })
}

/// The exit code of a failure that passes (`EX_TEMPFAIL` of `sysexits.h`).
const TEMPFAIL: i32 = 75;
const ATTEMPTS_MAX: u32 = 5;
const PAUSE_MAX: Duration = Duration::from_secs(300);
const VERSION_WITHIN: Duration = Duration::from_secs(30);
const VERSION_BYTES_MAX: u64 = 64 * 1024;
const LAST_OUTPUT_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PAUSE_MAX, end_of, pause_after};
    use crate::provider::dialect::Outcome;
    use crate::session::attended::Told;
    use crate::session::verdict::AgentEnd;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let first = Duration::from_secs(2);
        assert_eq!(pause_after(1, first), first);
        assert_eq!(pause_after(3, first), Duration::from_secs(8));
        assert_eq!(pause_after(60, first), PAUSE_MAX);
    }

    #[test]
    fn an_exit_code_of_zero_is_not_enough_where_a_program_can_say_more() {
        let told = |speaks: bool, is_done: bool, trouble: Option<&str>| Told {
            last_words: String::new(),
            speaks,
            outcome: Outcome {
                is_done,
                trouble: trouble.map(str::to_owned),
                ..Outcome::default()
            },
        };
        assert_eq!(end_of(0, &told(false, false, None)), AgentEnd::Exited(0));
        assert_eq!(end_of(0, &told(true, true, None)), AgentEnd::Exited(0));
        assert_eq!(end_of(3, &told(true, true, None)), AgentEnd::Exited(3));
        assert!(matches!(
            end_of(0, &told(true, false, None)),
            AgentEnd::GaveUp(_)
        ));
        let limited = AgentEnd::GaveUp("429".to_owned());
        assert_eq!(end_of(1, &told(true, false, Some("429"))), limited);
    }
}
