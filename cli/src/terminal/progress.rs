//! How far a campaign has come, on stderr: a bar where a person watches, now and then a plain line where none does.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Terminal, grouped, span};
use crate::stopwatch::Stopwatch;

/// Between two plain lines; a log should not be all progress.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// How a campaign stands.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Seeds that have ended.
    pub(crate) done: u64,
    /// Seeds in all, if that is known.
    pub(crate) of: Option<u64>,
    /// Seeds that violate a property.
    pub(crate) failed: u64,
    /// Simulated seconds so far.
    pub(crate) simulated_s: f64,
    /// Marks that no seed has reached yet.
    pub(crate) missing: Vec<String>,
}

/// The display.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    watch: Stopwatch,
    said_at: Duration,
}

impl Progress {
    /// Begins, with `of` seeds to do if that is known.
    pub(crate) fn new(of: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(of, ProgressDrawTarget::stderr_with_hz(5));
            let template = if of.is_some() { "{bar:24} {pos}/{len} {msg}" } else { "{spinner} {pos} {msg}" };
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, watch: Stopwatch::start(), said_at: Duration::ZERO }
    }

    /// Shows how it stands.
    pub(crate) fn show(&mut self, terminal: &Terminal, standing: &Standing) {
        let elapsed = self.watch.elapsed();
        let text = describe(standing, elapsed);
        if let Some(bar) = &self.bar {
            bar.set_position(standing.done);
            bar.set_message(text);
        } else if elapsed.saturating_sub(self.said_at) >= PLAIN_EVERY {
            self.said_at = elapsed;
            let of = standing.of.map(|of| format!("/{}", grouped(of))).unwrap_or_default();
            terminal.note(format_args!("{}{of} {text}", grouped(standing.done)));
        }
    }

    /// Lets something else be printed.
    pub(crate) fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn describe(standing: &Standing, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let per_minute = (standing.done as f64 / seconds * 60.0).round() as u64;
    let mut text = format!("seeds, {} a minute, {} simulated", grouped(per_minute), span(standing.simulated_s));
    if standing.failed > 0 {
        text.extend([", ", &grouped(standing.failed), " failed"]);
    }
    match standing.missing.as_slice() {
        [] => {}
        [mark] => text.extend([", not seen yet: ", mark]),
        [mark, rest @ ..] => text.extend([", not seen yet: ", mark, " and ", &rest.len().to_string(), " more"]),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_the_rate_and_what_is_missing() {
        let standing = Standing {
            done: 30,
            of: Some(100),
            failed: 1,
            simulated_s: 1_800.0,
            missing: vec!["zombie_fenced".to_owned(), "lane_parked".to_owned()],
        };
        assert_eq!(
            describe(&standing, Duration::from_secs(60)),
            "seeds, 30 a minute, 30 min 0 s simulated, 1 failed, not seen yet: zombie_fenced and 1 more"
        );
    }
}
