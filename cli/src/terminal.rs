//! The one module that prints.
//!
//! Answers go to stdout, everything about the work itself (progress, logs, errors) to stderr. With `--json` stdout carries
//! JSON Lines and nothing else: each an object with `"v":1` and a `"kind"`. Colours come from anstream, which leaves
//! them out where they do not belong (`NO_COLOR`, a pipe); no meaning rests upon them.

mod progress;

use std::{
    fmt::Display,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use anstyle::{AnsiColor, Style};
pub(crate) use progress::{Progress, Standing};
use serde::Serialize;

/// The version of the JSON Lines.
const JSON_VERSION: u32 = 1;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();

/// Where a verb says what it has to say.
#[derive(Debug)]
pub(crate) struct Terminal {
    json: bool,
    /// Whoever read our stdout has gone (`| head`): there is nobody left to tell.
    closed: AtomicBool,
}

#[derive(Serialize)]
struct Line<'a, T> {
    v: u32,
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

impl Terminal {
    /// With `json`, stdout carries JSON Lines and [`line`](Self::line) says nothing.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, closed: AtomicBool::new(false) }
    }

    /// Whether answers are for a program.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether nobody reads our stdout any more; a verb that streams ends then.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// A line for a person, on stdout.
    pub(crate) fn line(&self, text: impl Display) {
        if !self.json {
            self.out(|out| writeln!(out, "{text}"));
        }
    }

    /// An object for a program, on stdout.
    pub(crate) fn object<T: Serialize>(&self, kind: &str, body: &T) {
        if self.json {
            self.out(|out| {
                serde_json::to_writer(&mut *out, &Line { v: JSON_VERSION, kind, body })?;
                writeln!(out)
            });
        }
    }

    /// Text that is an artefact itself (a completion script, a man page): as it is, whatever the mode.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        self.out(|out| out.write_all(bytes));
    }

    /// A line about the work, on stderr.
    #[expect(clippy::unused_self, reason = "whoever prints holds the terminal")]
    pub(crate) fn note(&self, text: impl Display) {
        // An stderr that is gone is no reason to stop working.
        let _ = writeln!(anstream::stderr().lock(), "{text}");
    }

    /// What failed, why, and what to do, on stderr; for a program on stdout as well.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let sentence = format!("{error:#}");
        self.note(format_args!("{} {sentence}", bad("error:")));
        self.object("error", &serde_json::json!({ "message": sentence }));
    }

    fn out(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.is_closed() {
            return;
        }
        let mut out = anstream::stdout().lock();
        let result = write(&mut out).and_then(|()| out.flush());
        if result.is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
    }
}

fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Green: it holds.
pub(crate) fn good(text: impl Display) -> String {
    styled(GOOD, text)
}

/// Red: it does not.
pub(crate) fn bad(text: impl Display) -> String {
    styled(BAD, text)
}

/// Bold: what a line is about.
pub(crate) fn strong(text: impl Display) -> String {
    styled(STRONG, text)
}

/// Bold, in a column of this width.
pub(crate) fn label(text: impl Display, width: usize) -> String {
    // Padded before it is coloured: what makes colours has a width too.
    strong(format_args!("{:<width$}", text.to_string()))
}

/// Faint: what may be passed over.
pub(crate) fn faint(text: impl Display) -> String {
    styled(FAINT, text)
}

pub(crate) use dacapo_reporting::words::{count, grouped};

/// A span of seconds as people say it: `0.8 s`, `12 s`, `3 min 5 s`, `2 h 4 min`.
pub(crate) fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 10.0 => format!("{seconds:.1} s"),
        0..120 => format!("{whole} s"),
        120..7_200 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([0.84, 12.4, 185.0, 7_440.0].map(span), ["0.8 s", "12 s", "3 min 5 s", "2 h 4 min"]);
    }
}
