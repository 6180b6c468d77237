//! The OpenMetrics 1.0 text format, from what the registry gathers, for who asks for it.
//!
//! Invariant: both formats show the same families and values. A counter's family is named without
//! its `_total`; a gauge that the feature description calls so keeps its name.

use std::fmt::Write;

use prometheus::proto::{Metric, MetricFamily, MetricType};

/// The media type of this format.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The units that names end with, in the singular form of their last word.
const UNITS: [&str; 3] = ["bytes", "seconds", "records"];

/// Returns whether an `Accept` field prefers this format over the text format 0.0.4.
pub(crate) fn is_wanted(accept: &str) -> bool {
    let mut best = (0.0, false);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let open = match name.as_str() {
            "application/openmetrics-text" => true,
            "text/plain" | "text/*" | "*/*" => false,
            _ => continue,
        };
        let mut quality = 1.0;
        let mut version_fits = true;
        for parameter in parts {
            match parameter.split_once('=') {
                Some((name, value)) if name.trim().eq_ignore_ascii_case("q") => {
                    quality = value.trim().parse().unwrap_or(0.0);
                }
                Some((name, value)) if name.trim().eq_ignore_ascii_case("version") => {
                    version_fits = !open || matches!(value.trim_matches('"'), "1.0.0" | "0.0.1");
                }
                Some(_) | None => {}
            }
        }
        if version_fits && (quality > best.0 || (quality == best.0 && quality > 0.0 && open)) {
            best = (quality, open);
        }
    }
    best.1
}

/// Shows the families.
pub(crate) fn encode(families: &[MetricFamily]) -> String {
    let mut out = String::new();
    for family in families {
        encode_family(&mut out, family);
    }
    out.push_str("# EOF\n");
    out
}

fn encode_family(out: &mut String, family: &MetricFamily) {
    let kind = family.get_field_type();
    let name = match kind {
        MetricType::COUNTER => family
            .name()
            .strip_suffix("_total")
            .unwrap_or(family.name()),
        MetricType::GAUGE | MetricType::HISTOGRAM | MetricType::SUMMARY | MetricType::UNTYPED => {
            family.name()
        }
    };
    line(out, format_args!("# TYPE {name} {}", kind_name(kind)));
    if let Some(unit) = unit(name) {
        line(out, format_args!("# UNIT {name} {unit}"));
    }
    line(
        out,
        format_args!("# HELP {name} {}", escaped(family.help())),
    );
    for metric in family.get_metric() {
        match kind {
            MetricType::COUNTER => {
                sample(
                    out,
                    name,
                    "_total",
                    metric,
                    None,
                    metric.get_counter().get_value(),
                );
            }
            MetricType::GAUGE => {
                sample(out, name, "", metric, None, metric.get_gauge().get_value());
            }
            MetricType::HISTOGRAM => histogram(out, name, metric),
            // Nothing here makes one.
            MetricType::SUMMARY | MetricType::UNTYPED => {}
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the format has 64-bit floating point numbers only"
)]
fn histogram(out: &mut String, name: &str, metric: &Metric) {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count() as f64;
    for bucket in histogram.get_bucket() {
        let bound = number(bucket.upper_bound());
        let below = bucket.cumulative_count() as f64;
        sample(out, name, "_bucket", metric, Some(&bound), below);
    }
    sample(out, name, "_bucket", metric, Some("+Inf"), count);
    sample(out, name, "_sum", metric, None, histogram.get_sample_sum());
    sample(out, name, "_count", metric, None, count);
}

fn sample(out: &mut String, name: &str, end: &str, metric: &Metric, le: Option<&str>, value: f64) {
    out.push_str(name);
    out.push_str(end);
    let labels = metric.get_label().iter();
    let labels = labels.map(|label| (label.name(), label.value()));
    let mut opened = false;
    for (name, value) in labels.chain(le.map(|le| ("le", le))) {
        out.push(if opened { ',' } else { '{' });
        opened = true;
        out.push_str(name);
        out.push_str("=\"");
        out.push_str(&escaped(value));
        out.push('"');
    }
    if opened {
        out.push('}');
    }
    line(out, format_args!(" {}", sample_value(value)));
}

fn sample_value(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value:.0}")
    } else {
        number(value)
    }
}

/// Returns a bound or a value in its canonical form: `1.0`, `0.005`, `+Inf`.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value:.1}")
    } else {
        value.to_string()
    }
}

fn unit(name: &str) -> Option<&'static str> {
    UNITS.into_iter().find(|unit| {
        name.strip_suffix(unit)
            .is_some_and(|rest| rest.ends_with('_'))
    })
}

const fn kind_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "unknown",
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[expect(clippy::expect_used, reason = "a text takes every character")]
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a text takes every character");
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::{encode, is_wanted};
    use crate::metrics::family;

    #[test]
    fn the_format_is_given_to_who_prefers_it() {
        for accept in [
            "",
            "text/plain",
            "*/*",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.1,text/plain",
            "application/openmetrics-text;version=2.0.0",
            "application/json",
        ] {
            assert!(!is_wanted(accept), "{accept:?}");
        }
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
            // What Prometheus 2.42 sends.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "text/plain, application/openmetrics-text",
        ] {
            assert!(is_wanted(accept), "{accept:?}");
        }
    }

    #[test]
    fn families_are_shown_as_the_format_has_them() {
        let registry = Registry::new();
        family::counter(&registry, "a_total", "Quotes \" and \\.", 3);
        family::gauge(&registry, "b_bytes", "Bytes.", 0.5);
        let times = family::histograms(&registry, "c_seconds", "Time.", &["kind"], &[0.5, 1.0]);
        times.with_label_values(&["x"]).observe(0.75);
        assert_eq!(
            encode(&registry.gather()),
            "# TYPE a counter\n# HELP a Quotes \\\" and \\\\.\na_total 3\n\
             # TYPE b_bytes gauge\n# UNIT b_bytes bytes\n# HELP b_bytes Bytes.\nb_bytes 0.5\n\
             # TYPE c_seconds histogram\n# UNIT c_seconds seconds\n# HELP c_seconds Time.\n\
             c_seconds_bucket{kind=\"x\",le=\"0.5\"} 0\nc_seconds_bucket{kind=\"x\",le=\"1.0\"} 1\n\
             c_seconds_bucket{kind=\"x\",le=\"+Inf\"} 1\nc_seconds_sum{kind=\"x\"} 0.75\n\
             c_seconds_count{kind=\"x\"} 1\n# EOF\n"
        );
    }
}
