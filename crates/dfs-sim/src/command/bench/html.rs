//! The result as a page with plots that needs nothing but itself.

use std::fmt::Write as _;

use super::result::{Bench, CatalogResult, Large, Small};
use crate::output::size;

/// Bars are boxes of the page, and no picture: their names and figures wrap,
/// and on a narrow screen stand above and below them. So nothing is cut off,
/// and nothing becomes too small to read.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;\
padding:0 1rem;color:#1d2430}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
.bar{display:grid;grid-template-columns:14rem 1fr 15rem;gap:.1rem .7rem;align-items:center;\
margin:.25rem 0;overflow-wrap:anywhere}.track{position:relative;height:1rem}\
.track i{position:absolute;left:0}.a{background:#2f6fb2;top:.1rem;height:.8rem}\
.b{background:#b9cfe6;top:.3rem;height:.4rem}.warn{color:#9a3412;font-weight:600}\
.wide{overflow-x:auto}svg text{font:13px system-ui,sans-serif;fill:#1d2430}\
.l{stroke:#2f6fb2;fill:none;stroke-width:2}.m{stroke:#c2572b;fill:none;stroke-width:2}\
.g{stroke:#d5dbe3}@media(max-width:48rem){.bar{grid-template-columns:1fr;margin:.7rem 0}}";

/// The whole page.
pub(super) fn page(bench: &Bench) -> String {
    let machine = &bench.machine;
    let mut html = String::from(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">",
    );
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
    for warning in &bench.warnings {
        add(&mut html, format_args!("<p class=warn>{}</p>", escape(warning)));
    }
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
    // A page of a listing has a thousand names: on one scale with files that
    // are put one by one, these would be dots.
    let (listed, moved): (Vec<&Small>, Vec<&Small>) =
        bench.small.iter().partition(|run| run.verb == "list");
    for (title, runs) in
        [("Many small files: files a second", moved), ("Listing them: names a second", listed)]
    {
        if runs.is_empty() {
            continue;
        }
        add(html, format_args!("<h2>{title}</h2>"));
        let bar = |run: &&Small| Bar {
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
        };
        html.push_str(&plot(&runs.iter().map(bar).collect::<Vec<_>>()));
    }
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
    let slowest = series.iter().flat_map(|(.., values)| values).copied().fold(100.0, f64::max);
    // From 0.1 µs up.
    let decades = slowest.log10().ceil() + 1.0;
    let (height, left, step) = (50.0 * decades + 40.0, 70.0, 130.0);
    let y = |us: f64| height - 20.0 - (us.max(0.1).log10() + 1.0) * 50.0;
    let right = left + step * result.sizes.len().saturating_sub(1) as f64;
    // It keeps its size, and is moved sideways on a narrow screen.
    add(
        html,
        format_args!(
            "<div class=wide><svg width=\"{}\" height=\"{}\" role=img>",
            right + 260.0,
            height + 20.0
        ),
    );
    for us in (0..=decades as i32).map(|decade| 10_f64.powi(decade - 1)) {
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
    html.push_str("</svg></div>");
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
    let mut html = String::new();
    for bar in bars {
        add(&mut html, format_args!("<div class=bar><div>{}</div>", escape(&bar.name)));
        html.push_str("<div class=track>");
        for (class, value) in [("a", Some(bar.value)), ("b", bar.limit)] {
            if let Some(value) = value {
                let percent = value / most * 100.0;
                add(&mut html, format_args!("<i class={class} style=\"width:{percent:.1}%\"></i>"));
            }
        }
        add(&mut html, format_args!("</div><div>{}</div></div>", escape(&bar.text)));
    }
    html
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

    fn small(verb: &'static str, files_per_second: f64) -> Small {
        Small {
            verb,
            file_bytes: 4096,
            files: 100,
            in_flight: 16,
            policy: "R=2".to_owned(),
            seconds: 1.0,
            files_per_second,
            latency_ms: Default::default(),
            used: Default::default(),
            cpu_ms_per_file: None,
        }
    }

    #[test]
    fn names_and_figures_have_room_and_listings_a_scale_of_their_own() {
        let small = vec![small("put", 500.0), small("get", 250.0), small("list", 100_000.0)];
        let bench = Bench { small, ..Bench::default() };
        let page = page(&bench);
        assert!(page.contains("name=viewport"), "a phone shows it in its own width");
        assert!(!page.contains("<svg"), "text of bars wraps, and is never scaled down");
        let widths: Vec<&str> = page.split("style=\"width:").skip(1).collect();
        let widths: Vec<&str> = widths.iter().filter_map(|rest| rest.split('%').next()).collect();
        assert_eq!(widths, ["100.0", "50.0", "100.0"]);
    }

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
