//! The process itself, as the kernel tells it, under the names that every exporter uses.
//!
//! Invariant: what cannot be read is left out, never made up.

use std::fs;

use prometheus::Registry;

use super::family::{counter_of, gauge};

/// Ticks per second in what the kernel tells, the same on every Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Fields of `/proc/self/stat` behind the name, counted from 0.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;

/// Adds the families.
pub(crate) fn add(registry: &Registry) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| {
            rest.split(' ')
                .map(|field| field.trim().parse().unwrap_or(0.0))
                .collect()
        })
        .unwrap_or_default();
    if let (Some(user), Some(system)) = (fields.get(USER_TICKS), fields.get(SYSTEM_TICKS)) {
        counter_of(
            registry,
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            (user + system) / TICKS_PER_SECOND,
        );
    }
    if let (Some(start), Some(booted)) = (fields.get(START_TICKS), booted_at()) {
        gauge(
            registry,
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch in seconds.",
            booted + start / TICKS_PER_SECOND,
        );
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, help, key, factor) in [
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            "VmRSS:",
            1024.0,
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            "VmSize:",
            1024.0,
        ),
        ("process_threads", "Number of threads.", "Threads:", 1.0),
    ] {
        if let Some(value) = number_behind(&status, key) {
            gauge(registry, name, help, value * factor);
        }
    }
    add_descriptors(registry);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the text format has 64-bit floating point numbers only"
)]
fn add_descriptors(registry: &Registry) {
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        gauge(
            registry,
            "process_open_fds",
            "Number of open file descriptors.",
            entries.count() as f64,
        );
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if let Some(most) = limit.current {
        gauge(
            registry,
            "process_max_fds",
            "Maximum number of open file descriptors.",
            most as f64,
        );
    }
}

fn booted_at() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    number_behind(&stat, "btime ")
}

fn number_behind(text: &str, key: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    #[test]
    fn every_family_is_there_and_above_zero() {
        let registry = Registry::new();
        super::add(&registry);
        let families = registry.gather();
        assert_eq!(families.len(), 7);
        for family in &families {
            let metric = &family.get_metric()[0];
            let value = metric.get_gauge().get_value() + metric.get_counter().get_value();
            let may_be_zero = family.name() == "process_cpu_seconds_total";
            assert!(value > 0.0 || may_be_zero, "{}", family.name());
        }
    }
}
