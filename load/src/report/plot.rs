//! Drawings for the page: bars, and lines over two axes.

use std::fmt::Write as _;

/// Colours of lines and bars, told apart also by those who see few colours.
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b5b5b", "#8c6d31",
];

const WIDTH: f64 = 760.0;
const LEFT: f64 = 260.0;
const ROW: f64 = 22.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 48.0;

/// One line of a plot.
pub(super) struct Line {
    /// What it shows.
    pub(super) name: String,
    /// Its points.
    pub(super) points: Vec<(f64, f64)>,
}

/// Draws a bar for each value.
pub(super) fn bars(values: &[(String, f64)], unit: &str) -> String {
    let highest = values
        .iter()
        .fold(f64::EPSILON, |highest, (_, value)| highest.max(*value));
    let height = ROW * count(values.len()) + 8.0;
    let mut svg = open(height);
    for (row, (name, value)) in values.iter().enumerate() {
        let top = ROW * count(row) + 4.0;
        let width = (WIDTH - LEFT - 110.0) * value / highest;
        let colour = if name.starts_with("gateway") {
            COLOURS[0]
        } else {
            COLOURS[6]
        };
        put(
            &mut svg,
            format_args!(
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LEFT:.0}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{:.0}\">{value:.0} {unit}</text>",
                LEFT - 8.0,
                top + 12.0,
                escape(name),
                LEFT + width + 6.0,
                top + 12.0,
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Draws lines. With `logarithmic`, the upright axis grows by powers of ten.
pub(super) fn lines(lines: &[Line], across: &str, upright: &str, logarithmic: bool) -> String {
    let scale = |value: f64| {
        if logarithmic {
            value.max(1.0).log10()
        } else {
            value
        }
    };
    let points = || lines.iter().flat_map(|line| &line.points);
    let right = points().fold(f64::EPSILON, |most, point| most.max(point.0));
    let top = points().fold(f64::EPSILON, |most, point| most.max(scale(point.1)));
    let height = HEIGHT + 2.0 * MARGIN + 16.0 * count(lines.len());
    let mut svg = open(height);
    let place = |(x, y): (f64, f64)| {
        (
            MARGIN + (WIDTH - 2.0 * MARGIN) * x / right,
            MARGIN + HEIGHT * (1.0 - scale(y) / top),
        )
    };
    put(
        &mut svg,
        format_args!(
            "<path d=\"M{MARGIN} {MARGIN}V{:.0}H{:.0}\" stroke=\"#888\" fill=\"none\"/>\
             <text x=\"{MARGIN}\" y=\"{:.0}\">{}</text>\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{} (to {right:.4})</text>",
            MARGIN + HEIGHT,
            WIDTH - MARGIN,
            MARGIN - 10.0,
            escape(upright),
            WIDTH - MARGIN,
            MARGIN + HEIGHT + 18.0,
            escape(across),
        ),
    );
    ticks(&mut svg, top, logarithmic);
    for (number, line) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let path: Vec<String> = line
            .points
            .iter()
            .map(|point| {
                let (x, y) = place(*point);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let below = MARGIN + HEIGHT + 36.0 + 16.0 * count(number);
        put(
            &mut svg,
            format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>\
                 <rect x=\"{MARGIN}\" y=\"{:.0}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>\
                 <text x=\"{:.0}\" y=\"{below:.0}\">{}</text>",
                path.join(" "),
                below - 6.0,
                MARGIN + 18.0,
                escape(&line.name)
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

fn ticks(svg: &mut String, top: f64, logarithmic: bool) {
    let steps: Vec<f64> = if logarithmic {
        (0..=9)
            .map(f64::from)
            .take_while(|step| *step <= top)
            .collect()
    } else {
        (0..=4).map(|step| top * f64::from(step) / 4.0).collect()
    };
    for step in steps {
        let y = MARGIN + HEIGHT * (1.0 - step / top);
        let value = if logarithmic { 10_f64.powf(step) } else { step };
        put(
            svg,
            format_args!(
                "<path d=\"M{MARGIN} {y:.1}H{:.0}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
                WIDTH - MARGIN,
                MARGIN - 4.0,
                y + 4.0
            ),
        );
    }
}

fn open(height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\">"
    )
}

/// Escapes a text for the page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    let written = svg.write_fmt(text);
    // A text takes every character.
    debug_assert!(written.is_ok());
}

#[expect(clippy::cast_precision_loss, reason = "a small count")]
const fn count(number: usize) -> f64 {
    number as f64
}
