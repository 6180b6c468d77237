//! The lab: everything that is measured, started on this machine, in one run.
//!
//! The proxy has one processor, origin and load have another, so that the ratios of two proxies say
//! what each of them costs. All proxies show the same certificate and have the same origin.

pub(crate) mod issuer;
mod plan;
mod process;
mod quiet;
mod site;
mod subject;

use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use crate::credentials::Credentials;
use crate::figure::Figure;
use crate::moment;
use crate::request::Request;
use crate::rounds::Rounds;
use crate::run::{self, Plan};
use crate::scenario::{self, Later, Load, Scenario, Work};
use crate::target::Target;
use issuer::Key;
use plan::{Item, Set, Step};
use site::{Processors, Site};
use subject::Running;

/// How long a load runs before it counts.
const WARM_UP: Duration = Duration::from_millis(500);

/// Different JSON Web Tokens where none is to be remembered: several times what the gateway keeps.
const JWTS: usize = 16_384;

/// What `loki-load lab` takes.
#[derive(Debug, Args)]
pub(crate) struct LabArguments {
    /// What to measure
    #[arg(long, value_enum, default_value_t = Set::Speed)]
    set: Set,
    /// Only this figure, as `bare/open`, or those that begin so, as `gateway/`; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often each is measured, in turns; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    rounds: u8,
    /// Folder of loki-gateway and loki-bare [default: that of this program]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Folder of the proxies that are no system packages
    #[arg(long, value_name = "DIR", default_value = "target/counterparts")]
    counterparts: PathBuf,
    /// Leave the processors to the system: figures of two runs then say little
    #[arg(long)]
    no_pinning: bool,
}

/// Runs the lab.
///
/// # Errors
/// When a program cannot be started, or a scenario cannot be asked at all.
pub(crate) fn run(arguments: &LabArguments) -> anyhow::Result<Rounds> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let programs = match &arguments.programs {
        Some(folder) => folder.clone(),
        None => own.parent().context("no folder")?.to_owned(),
    };
    let processors = if arguments.no_pinning {
        Processors {
            proxy: None,
            others: None,
        }
    } else {
        Processors {
            proxy: Some(0),
            others: Some(1),
        }
    };
    crate::say(&quiet::look(processors.proxy)?.says());
    let steps = plan::steps(arguments.set, &arguments.only);
    ensure!(!steps.is_empty(), "--only names no figure of this set");
    let fresh = steps
        .iter()
        .flat_map(|step| &step.items)
        .any(|item| item.scenario == Scenario::FreshJwt);
    // Signing takes its time, so it is done for those who need it.
    let jwts = if fresh { JWTS } else { 1 };
    let site = Site::build(&programs, &arguments.counterparts, processors, jwts)?;
    if let Some(processor) = processors.others {
        process::bind(processor)?;
    }
    let mut lab = Lab {
        site,
        duration: Duration::from_secs(arguments.seconds),
        round: Vec::new(),
    };
    let mut rounds = Vec::new();
    for _ in 0..arguments.rounds {
        for step in &steps {
            lab.step(step)?;
        }
        rounds.push(std::mem::take(&mut lab.round));
    }
    Ok(Rounds(rounds))
}

struct Lab {
    site: Site,
    duration: Duration,
    /// What was found in this round.
    round: Vec<Figure>,
}

impl Lab {
    fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        let credentials = self.site.furnish(&step.conditions)?;
        if step.subject.program(&self.site).is_none() && step.optional {
            crate::say(&format!(
                "{} is not installed: left out",
                step.subject.name()
            ));
            return Ok(());
        }
        let mut running = step.subject.start(&self.site)?;
        for item in &step.items {
            let figure = self
                .measure(step, item, &mut running, &credentials)
                .with_context(|| format!("{}/{}", step.subject.name(), item.label))?;
            self.round.push(figure);
        }
        Ok(())
    }

    fn measure(
        &self,
        step: &Step,
        item: &Item,
        running: &mut Running,
        credentials: &Credentials,
    ) -> anyhow::Result<Figure> {
        let url = format!("{}{}", running.url, item.path);
        let target = Target::parse(&url, Some(&self.site.certificate), item.protocol, false)?;
        let target = if item.scenario == Scenario::Handshakes {
            target.with_full_handshakes(&self.site.certificate, item.exchange)?
        } else {
            target
        };
        let executor = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        self.wait_until_right(&executor, item, running, &target, credentials)?;
        let load = self.load(item, &target, credentials)?;
        let plan = Plan {
            connections: item.connections,
            streams: item.streams,
            warm_up: WARM_UP,
            duration: self.duration,
            rate: self.rate(item),
        };
        let before = running.process.usage()?;
        let watch = running.process.watch();
        let reloading = self.reload_meanwhile(step, item, running);
        let mut figure = executor.block_on(run::run(&target, load, &plan))?;
        if let Some(reloading) = reloading {
            reloading
                .join()
                .map_err(|_| anyhow::anyhow!("the thread that changes settings failed"))??;
        }
        let resident_kib = watch.end();
        let after = running.process.usage()?;
        figure.subject = step.subject.name().to_owned();
        figure.scenario = item.label.to_owned();
        let busy = (after.cpu - before.cpu).as_secs_f64() * 1e6;
        // The warm-up's work is in the processor time and not in the count.
        let share = self.duration.as_secs_f64() / (self.duration + WARM_UP).as_secs_f64();
        figure.cpu_us = Some(busy * share / cast(figure.count.max(1)));
        figure.resident_kib = Some(resident_kib);
        figure.growth_kib = i64::try_from(resident_kib)
            .ok()
            .zip(i64::try_from(before.resident_kib).ok())
            .map(|(after, before)| after - before);
        tell(&figure);
        Ok(figure)
    }

    /// Changes the settings again and again in a thread of its own, if the item says so.
    #[expect(
        clippy::disallowed_methods,
        reason = "the changes are spread over the time"
    )]
    fn reload_meanwhile(
        &self,
        step: &Step,
        item: &Item,
        running: &Running,
    ) -> Option<JoinHandle<anyhow::Result<()>>> {
        let pause = self.duration.checked_div(item.reloads)?;
        let (change, prompt) = (
            self.site.changer(&step.conditions),
            running.process.prompter(),
        );
        let reloads = item.reloads;
        Some(thread::spawn(move || {
            for number in 1..=reloads {
                change(number)?;
                prompt()?;
                thread::sleep(pause);
            }
            Ok(())
        }))
    }

    /// Asks until the first answer is right: a proxy may still be fetching the issuer's keys.
    fn wait_until_right(
        &self,
        executor: &tokio::runtime::Runtime,
        item: &Item,
        running: &mut Running,
        target: &Target,
        credentials: &Credentials,
    ) -> anyhow::Result<()> {
        let load = self.load(item, target, credentials)?;
        let mut last = None;
        let waited = running.process.wait_for("its first right answer", || {
            match executor.block_on(run::probe(target, &load)) {
                Ok(()) => true,
                Err(error) => {
                    last = Some(error);
                    false
                }
            }
        });
        match (waited, last) {
            (Err(error), Some(last)) => Err(error.context(last)),
            (waited, _) => waited,
        }
    }

    fn load(
        &self,
        item: &Item,
        target: &Target,
        credentials: &Credentials,
    ) -> anyhow::Result<Load> {
        if item.scenario != Scenario::Rotation {
            return scenario::load(item.scenario, &target.path, credentials);
        }
        // Each round has a key of its own: a key set never holds two of one name.
        let second = Key::generate(&format!("later-{}", moment::now_us()))?;
        let url = self.site.issuer.url();
        let later = second.tokens(&url, 1)?;
        let read = |token: &String| Request::read(&target.path, Some(token), &[200]);
        Ok(Load {
            name: "rotation",
            work: Work::Requests {
                first: credentials.jwts.iter().take(1).map(read).collect(),
                later: Some(Later {
                    before: self.site.issuer.publisher(&second),
                    requests: later.iter().map(read).collect(),
                }),
            },
        })
    }

    /// Returns the rate of an item that asks at half of another figure's.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "half of a measured rate is a small positive number"
    )]
    fn rate(&self, item: &Item) -> Option<u32> {
        let key = item.half_of?;
        let whole = self.round.iter().find(|figure| figure.key() == key)?;
        Some((whole.per_second / 2.0) as u32)
    }
}

/// Tells the operator about a figure.
fn tell(figure: &Figure) {
    crate::say(&format!(
        "{:36} {:>9.0}/s  p50 {:>6} µs  p99 {:>7} µs  cpu {:>6.1} µs{}",
        figure.key(),
        figure.per_second,
        figure.latency_us.p50,
        figure.latency_us.p99,
        figure.cpu_us.unwrap_or_default(),
        if figure.is_clean() { "" } else { "  NOT CLEAN" },
    ));
}

#[expect(clippy::cast_precision_loss, reason = "a count is below 2^52")]
const fn cast(count: u64) -> f64 {
    count as f64
}
