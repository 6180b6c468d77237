//! The runtime's own log: one line per fact on standard error, as text or JSON.

use config::gateway::Log;
use config::load::value::{LogFormat, LogLevel};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

/// Installs the log for the whole process and tells what the operator should look at.
///
/// # Errors
/// When a log is installed already.
pub fn install(
    log: &Log,
    warnings: &[String],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let lines = fmt()
        .with_max_level(level(log.level))
        .with_writer(std::io::stderr)
        // A line that cannot be written is lost; complaining about it would panic where a disk is full.
        .log_internal_errors(false)
        .with_target(false);
    match log.format {
        LogFormat::Text => lines.with_ansi(false).try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).try_init()?,
    }
    for warning in warnings {
        tracing::warn!(warning, "settings");
    }
    Ok(())
}

const fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
