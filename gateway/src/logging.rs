//! The process's own log, on standard error.

use config::gateway::Log;
use config::load::value::{LogFormat, LogLevel};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, filter};

/// Begins logging as set; what a library says below a warning is left out.
pub fn begin(log: Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let targets = filter::Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("gateway", level)
        .with_target("loki_gateway", level)
        // Scanners would fill the log with their own broken handshakes and hang-ups.
        .with_target("pingora_core", LevelFilter::OFF)
        .with_target("pingora_proxy", LevelFilter::OFF);
    // A line that cannot be written is lost; complaining about it would panic where a disk is full.
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry();
    match log.format {
        LogFormat::Text => registry
            .with(layer.with_ansi(false).with_filter(targets))
            .init(),
        LogFormat::Json => registry
            .with(layer.json().flatten_event(true).with_filter(targets))
            .init(),
    }
}
