//! The result as a page with plots that needs nothing but itself.

use std::fmt::Write as _;

use super::result::{Bench, CatalogResult, Large};
use crate::output::size;

/// Height of one bar and of the room around it, in pixels.
const BAR: usize = 22;
/// Width of the widest bar, and room for its name before it.
const WIDTH: f64 = 420.0;
const NAMES: usize = 230;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;\
padding:0 1rem;color:#1d2430}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
table{border-collapse:collapse}td,th{padding:.15rem .7rem;text-align:right}\
td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#f4f6f9}\
svg text{font:12px system-ui,sans-serif;fill:#1d2430}.a{fill:#2f6fb2}.b{fill:#b9cfe6}\
.l{stroke:#2f6fb2;fill:none;stroke-width:2}.m{stroke:#c2572b;fill:none;stroke-width:2}\
.g{stroke:#d5dbe3}";

/// The whole page.
pub(super) fn page(bench: &Bench) -> String {
    let machine = &bench.machine;
    let mut html = String::from("<!doctype html><html lang=en><meta charset=utf-8>");
    add(&mut html, format_args!("<title>dfs-sim bench, {}</title>", escape(&machine.date)));
    add(
        &mut html,
        format_args!("<style>{STYLE}</style><h1>dfs-sim {} bench</h1>", machine.version),
    );
    add(
        &mut html,
        format_args!(
            "<p>{}, {} cores, {}; {}. Cluster: {}. GB are 1e9 bytes; CPU is that of all \
             processes.</p>",
            escape(&machine.processor),
            machine.cores,
            size::bytes(machine.memory_bytes),
            escape(&machine.date),
            escape(&machine.cluster)
        ),
    );
    limits(&mut html, bench);
    for verb in ["put", "get"] {
        let runs: Vec<&Large> = bench.large.iter().filter(|run| run.verb == verb).collect();
        if !runs.is_empty() {
            large(&mut html, verb, &runs);
        }
    }
    small(&mut html, bench);
    failure(&mut html, bench);
    if let Some(result) = &bench.catalog {
        catalog(&mut html, result);
    }
    add(&mut html, format_args!("<p>Measured in {:.0} s.</p></html>\n", bench.seconds));
    html
}

fn limits(html: &mut String, bench: &Bench) {
    let Some(limits) = &bench.limits else { return };
    html.push_str("<h2>This machine: CPU-seconds a GB of each part, all cores at work</h2>");
    let bars: Vec<Bar> = limits
        .parts
        .iter()
        .map(|part| Bar {
            name: part.what.to_owned(),
            value: part.cpu_seconds_per_gb,
            limit: None,
            text: format!(
                "{:.3} CPU-s/GB, {:.2} GB/s",
                part.cpu_seconds_per_gb, part.gb_per_second
            ),
        })
        .collect();
    html.push_str(&plot(&bars));
}

fn large(html: &mut String, verb: &str, runs: &[&Large]) {
    let name = |run: &Large| format!("{} {}", run.policy, run.data);
    add(html, format_args!("<h2>{verb} of {}: MB/s</h2>", size::bytes(runs[0].bytes)));
    let speeds: Vec<Bar> = runs
        .iter()
        .map(|run| Bar {
            name: name(run),
            value: run.mb_per_second,
            limit: None,
            text: format!(
                "{:.0} MB/s, 16 MiB in {:.0} ms, p99 {:.0} ms",
                run.mb_per_second, run.pace_ms.p50, run.pace_ms.p99
            ),
        })
        .collect();
    html.push_str(&plot(&speeds));
    add(html, format_args!("<h2>{verb}: CPU-seconds a GB (pale: the limit of its parts)</h2>"));
    let costs: Vec<Bar> = runs
        .iter()
        .filter_map(|run| {
            let value = run.cpu_seconds_per_gb?;
            let ratio = run.cpu_ratio.map_or_else(String::new, |it| format!(", {it:.2} × limit"));
            Some(Bar {
                name: name(run),
                value,
                limit: run.limit_cpu_seconds_per_gb,
                text: format!("{value:.2}{ratio}"),
            })
        })
        .collect();
    html.push_str(&plot(&costs));
}

fn small(html: &mut String, bench: &Bench) {
    if bench.small.is_empty() {
        return;
    }
    html.push_str("<h2>Many small files: files a second</h2>");
    let bars: Vec<Bar> = bench
        .small
        .iter()
        .map(|run| Bar {
            name: format!(
                "{} {}, {} at once",
                run.verb,
                size::bytes(run.file_bytes),
                run.in_flight
            ),
            value: run.files_per_second,
            limit: None,
            text: format!(
                "{:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
                run.files_per_second, run.latency_ms.p50, run.latency_ms.p99
            ),
        })
        .collect();
    html.push_str(&plot(&bars));
}

fn failure(html: &mut String, bench: &Bench) {
    let Some(failure) = &bench.failure else { return };
    add(html, format_args!("<h2>A node gone, {}: MB/s</h2>", failure.policy));
    let bar = |name: &str, value: f64| Bar {
        name: name.to_owned(),
        value,
        limit: None,
        text: format!("{value:.0} MB/s"),
    };
    html.push_str(&plot(&[
        bar("put", failure.put.mb_per_second),
        bar("get", failure.healthy.mb_per_second),
        bar("get, degraded", failure.degraded.mb_per_second),
        bar("repair", failure.repair_mb_per_second),
    ]));
}

fn catalog(html: &mut String, result: &CatalogResult) {
    html.push_str("<h2>The catalog as it grows: µs an operation, by files (both logarithmic)</h2>");
    let series: [(&str, &str, Vec<f64>); 2] = [
        ("l", "lookup", result.sizes.iter().map(|size| size.lookup_us).collect()),
        (
            "m",
            "durable commit, a file's share",
            result.sizes.iter().map(|size| size.commit_us).collect(),
        ),
    ];
    let (height, left, step) = (220.0, 60.0, 150.0);
    let y = |us: f64| height - 20.0 - (us.max(0.1).log10() + 1.0) * 50.0;
    let right = left + step * result.sizes.len().saturating_sub(1) as f64;
    add(html, format_args!("<svg width=\"{}\" height=\"{}\">", right + 260.0, height + 20.0));
    for us in [0.1, 1.0, 10.0, 100.0] {
        add(
            html,
            format_args!(
                "<line class=g x1=\"{left}\" x2=\"{right}\" y1=\"{0}\" y2=\"{0}\"/>\
                 <text x=\"4\" y=\"{1}\">{us} µs</text>",
                y(us),
                y(us) + 4.0
            ),
        );
    }
    for (at, size) in result.sizes.iter().enumerate() {
        let x = left + step * at as f64;
        add(
            html,
            format_args!("<text x=\"{}\" y=\"{}\">{}</text>", x - 20.0, height + 8.0, size.files),
        );
    }
    for (class, name, values) in series {
        let points: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(at, us)| format!("{},{:.1}", left + step * at as f64, y(*us)))
            .collect();
        add(html, format_args!("<polyline class={class} points=\"{}\"/>", points.join(" ")));
        let last = values.last().copied().unwrap_or(1.0);
        add(
            html,
            format_args!("<text x=\"{}\" y=\"{:.1}\">{name}</text>", right + 8.0, y(last) + 4.0),
        );
    }
    html.push_str("</svg>");
    add(
        html,
        format_args!(
            "<p>{:.0} durable commands a second (p99 {:.1} ms, at most {:.1} ms) and {:.0} lookups \
             a second, {} clients at once; the coordinator starts on {} files in {:.1} s.</p>",
            result.commands_per_second,
            result.command_ms.p99,
            result.command_ms.max,
            result.lookups_per_second,
            result.in_flight,
            result.sizes.last().map_or(0, |size| size.files),
            result.load_seconds
        ),
    );
    html.push_str("<p>The longest that a look-up took while the coordinator was at work, ms:</p>");
    let bars: Vec<Bar> = (result.pauses.iter())
        .map(|pause| Bar {
            name: pause.during.to_owned(),
            value: pause.lookup_ms.max,
            limit: None,
            text: format!(
                "{:.1} ms; a durable rename {:.1} ms",
                pause.lookup_ms.max, pause.command_ms.max
            ),
        })
        .collect();
    html.push_str(&plot(&bars));
}

/// One bar, with a paler one behind it where there is a limit.
struct Bar {
    name: String,
    value: f64,
    limit: Option<f64>,
    text: String,
}

fn plot(bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.value.max(bar.limit.unwrap_or(0.0))).fold(1e-9, f64::max);
    let mut svg = format!(
        "<svg width=\"{}\" height=\"{}\" role=img>",
        NAMES as f64 + WIDTH + 230.0,
        bars.len() * BAR
    );
    for (row, bar) in bars.iter().enumerate() {
        let (top, width) = (row * BAR, |value: f64| WIDTH * value / most);
        add(&mut svg, format_args!("<text x=0 y={}>{}</text>", top + 15, escape(&bar.name)));
        let mut draw = |class: &str, value: f64, inset: usize| {
            add(
                &mut svg,
                format_args!(
                    "<rect class={class} x={NAMES} y={} width=\"{:.1}\" height={} />",
                    top + 3 + inset,
                    width(value),
                    BAR - 6 - 2 * inset
                ),
            );
        };
        match bar.limit {
            Some(limit) => {
                draw("a", bar.value, 4);
                draw("b", limit, 6);
            }
            None => draw("a", bar.value, 2),
        }
        let end = NAMES as f64 + width(bar.value.max(bar.limit.unwrap_or(0.0))) + 6.0;
        add(
            &mut svg,
            format_args!("<text x=\"{end:.1}\" y={}>{}</text>", top + 15, escape(&bar.text)),
        );
    }
    svg.push_str("</svg>");
    svg
}

fn add(html: &mut String, text: std::fmt::Arguments<'_>) {
    html.write_fmt(text).expect("writing to a string cannot fail");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_asks_no_other_machine_and_keeps_names_apart_from_markup() {
        let mut bench = Bench::default();
        bench.machine.processor = "<script>".to_owned();
        bench.catalog = Some(CatalogResult::default());
        let page = page(&bench);
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
        assert!(!page.contains("http") && !page.contains("src="));
    }
}
