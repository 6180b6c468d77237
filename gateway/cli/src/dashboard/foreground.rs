//! `loki dashboard start --foreground`: runs both processes until a signal, then ends both.
//!
//! Invariant: the gateway is drained before the runtime ends, and neither outlives this process's
//! orderly end.

use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::program::Program;
use super::start::{Plan, lock};
use super::{deployment, stop};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::process::Process;

/// Time between two looks at processes that are starting.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Longest wait until both processes are ready.
const READY_WITHIN: Duration = Duration::from_secs(15);

enum Happened {
    Signalled(&'static str),
    Ended(Program, Option<i32>),
}

/// Runs both processes and waits for a signal, or for the end of one of them.
pub(super) fn run(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let lock = lock(&plan.home)?;
    if deployment::endpoint(&plan.home)?.is_some_and(|found| deployment::gateway_answers(&found)) {
        return Err(Failure::failed("a gateway runs already").fix("loki dashboard stop"));
    }
    let (sender, happened) = channel();
    follow_signals(sender.clone())?;
    let mut running = Vec::new();
    for (program, arguments) in [
        (Program::Runtime, [].as_slice()),
        (Program::Gateway, plan.gateway_arguments.as_slice()),
    ] {
        let begun = program.attach(arguments).and_then(|child| {
            let process = program.remember(&plan.home, &child);
            follow_child(program, child, sender.clone())?;
            process
        });
        match begun {
            Ok(process) => running.push((program, process)),
            Err(failure) => {
                end(plan, running)?;
                return Err(failure);
            }
        }
    }
    let cause = wait_until_ready(context, plan, &happened);
    drop(lock);
    let cause = match cause {
        Some(cause) => Some(cause),
        None => happened.recv().ok(),
    };
    end(plan, running)?;
    match cause {
        Some(Happened::Signalled(name)) => {
            output::error(&format!("stopped by {name}"));
            Ok(())
        }
        Some(Happened::Ended(_, Some(64))) => Err(Failure::said(Exit::Settings)),
        Some(Happened::Ended(program, code)) => {
            let shown =
                code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
            Err(Failure::failed(format!("the {program} ended with {shown}")))
        }
        None => Err(Failure::failed("nothing is left to wait for")),
    }
}

/// Says when both are ready; returns what happened instead, if something did.
fn wait_until_ready(
    context: &Context,
    plan: &Plan,
    happened: &Receiver<Happened>,
) -> Option<Happened> {
    let deadline = Instant::now() + READY_WITHIN;
    while Instant::now() < deadline {
        let endpoint = deployment::endpoint(&plan.home).ok().flatten();
        if let Some(endpoint) = endpoint.filter(deployment::gateway_answers)
            && deployment::runtime_answers(context, &plan.home)
        {
            output::error(&format!("Loki is ready at {}", endpoint.url));
            return None;
        }
        if let Ok(cause) = happened.recv_timeout(LOOK_AGAIN) {
            return Some(cause);
        }
    }
    output::warn("gateway and runtime are not ready yet");
    None
}

fn end(plan: &Plan, mut running: Vec<(Program, Process)>) -> Result<(), Failure> {
    // The gateway was started last and is drained first.
    while let Some((program, process)) = running.pop() {
        stop::end(program, &process, plan.drain_timeout)?;
        program.forget(&plan.home)?;
    }
    Ok(())
}

fn follow_child(
    program: Program,
    mut child: Child,
    sender: Sender<Happened>,
) -> Result<(), Failure> {
    spawn("child", move || {
        let code = child.wait().ok().and_then(|status| status.code());
        // The receiver is gone once the command ends anyway.
        drop(sender.send(Happened::Ended(program, code)));
    })
}

fn follow_signals(sender: Sender<Happened>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))?;
    let listen = |kind| {
        let _entered = runtime.enter();
        signal(kind).map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    spawn("signals", move || {
        let name = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            }
        });
        // The receiver is gone once the command ends anyway.
        drop(sender.send(Happened::Signalled(name)));
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))
}
