//! The figures as a picture: what was accepted and completed in each second, and latencies by percentile.

use std::fmt::Write as _;

use super::{
    Report,
    figures::{Latency, shown},
};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 870.0;

/// A line of the upper picture: its name, how it is drawn, its values.
type Series<'a> = (&'static str, &'static str, &'a [u64]);

/// One SVG, readable in light and dark.
pub(super) fn draw(report: &Report<'_>) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>dacapo bench: {}</title>\n\
         <style>:root {{ color-scheme: light dark }} text {{ fill: light-dark(#1b1b1b, #eee) }} \
         .axis {{ stroke: light-dark(#999, #777) }} .a {{ stroke: #0072b2; fill: none }} \
         .c {{ stroke: #d55e00; fill: none; stroke-dasharray: 6 3 }} .ra {{ fill: #0072b2 }} .rc {{ fill: #d55e00 }}\
         </style>\n<rect width=\"100%\" height=\"100%\" fill=\"light-dark(#fff, #16181c)\"/>\n",
        report.load
    );
    let figures = report.figures;
    // The last second is not a whole one.
    let whole = |seconds: &'_ [u64]| seconds.len().min(report.seconds as usize);
    let accepted = &figures.accepted_by_second[..whole(&figures.accepted_by_second)];
    let completed = &figures.completed_by_second[..whole(&figures.completed_by_second)];
    throughput(&mut svg, &[("accepted a second", "a", accepted), ("completed a second", "c", completed)]);
    latencies(
        &mut svg,
        &[
            ("publish to receipt", "ra", &report.publish_to_receipt),
            ("publish to completed", "rc", &report.publish_to_completed),
        ],
    );
    svg.push_str("</svg>\n");
    svg
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

fn throughput(svg: &mut String, series: &[Series<'_>]) {
    let (top, bottom) = (40.0, 240.0);
    let most = series.iter().flat_map(|(.., values)| *values).copied().max().unwrap_or(0).max(1) as f64;
    let _ = writeln!(svg, "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {top}V{bottom}H{RIGHT}\"/>");
    text(svg, LEFT - 8.0, top + 5.0, "end", &crate::terminal::grouped(most as u64));
    text(svg, LEFT - 8.0, bottom, "end", "0");
    for (n, (name, class, values)) in series.iter().enumerate() {
        let x = |second: usize| LEFT + (RIGHT - LEFT) * second as f64 / (values.len().max(2) - 1) as f64;
        let mut points = String::new();
        for (second, value) in values.iter().enumerate() {
            let y = bottom - (bottom - top) * *value as f64 / most;
            let _ = write!(points, "{:.1},{y:.1} ", x(second));
        }
        let _ = writeln!(svg, "<polyline class=\"{class}\" stroke-width=\"2\" points=\"{}\"/>", points.trim_end());
        let at = LEFT + 10.0 + 220.0 * n as f64;
        let _ = writeln!(svg, "<path class=\"{class}\" stroke-width=\"2\" d=\"M{at:.1} 20h24\"/>");
        text(svg, at + 30.0, 24.0, "start", name);
    }
    text(svg, f64::midpoint(LEFT, RIGHT), bottom + 20.0, "middle", "seconds of the load");
}

/// Bars on a logarithmic scale from 10 µs to a minute.
fn latencies(svg: &mut String, rows: &[(&str, &str, &Latency)]) {
    const DECADES: f64 = 7.0;
    let (top, height) = (300.0, 16.0);
    let width = |us: u64| (RIGHT - LEFT - 190.0) * ((us.max(10) as f64 / 10.0).log10() / DECADES).clamp(0.005, 1.0);
    let mut y = top;
    for (name, class, latency) in rows {
        if latency.count == 0 {
            continue;
        }
        text(svg, LEFT, y, "start", name);
        for (quantile, us) in [("p50", latency.p50_us), ("p99", latency.p99_us), ("p99.9", latency.p999_us)] {
            y += height + 6.0;
            text(svg, LEFT + 50.0, y, "end", quantile);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height}\"/>",
                LEFT + 60.0,
                y - 13.0,
                width(us)
            );
            text(svg, LEFT + 68.0 + width(us), y, "start", &shown(us));
        }
        y += 34.0;
    }
}
