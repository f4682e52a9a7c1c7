//! Contrast of the colours, computed over the stylesheet's tokens in both themes.

mod contrast;

use contrast::check;
use dacapo_reporting::page::frame::STYLE;

/// Text on these backgrounds: `(text, background)`.
const TEXTS: &[(&str, &str)] = &[
    ("ink", "paper"),
    ("ink", "card"),
    ("ink", "sunk"),
    ("ink", "quiet-back"),
    ("ink", "bad-back"),
    ("ink", "warn-back"),
    ("faint", "paper"),
    ("faint", "card"),
    ("faint", "sunk"),
    ("faint", "warn-back"),
    ("link", "paper"),
    ("link", "card"),
    ("link", "sunk"),
    ("link", "warn-back"),
    ("good", "good-back"),
    ("good", "paper"),
    ("warn", "warn-back"),
    ("bad", "bad-back"),
    ("bad", "card"),
    ("card", "bad"),
    ("paper", "ink"),
];
/// Lines and borders that carry meaning.
const LINES: &[(&str, &str)] =
    &[("edge", "card"), ("critical", "card"), ("lit", "card"), ("focus", "paper"), ("bad", "card")];

#[test]
fn text_can_be_read_in_both_themes() {
    check(STYLE, TEXTS, 4.5);
}

#[test]
fn lines_that_mean_something_can_be_seen_in_both_themes() {
    check(STYLE, LINES, 3.0);
}

#[test]
fn letters_can_be_read_on_every_service_s_colour() {
    let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| ("glyph-ink", name.as_str())).collect();
    check(STYLE, &pairs, 4.5);
}

#[test]
fn every_colour_is_a_token() {
    let (_, rules) = STYLE.split_once("[data-theme=\"light\"]").expect("rules");
    for line in rules.lines().filter(|line| line.contains('#')) {
        let colours = line
            .split('#')
            .skip(1)
            .filter(|rest| rest.len() > 2 && rest[..3].bytes().all(|byte| byte.is_ascii_hexdigit()));
        let print = line.contains("#fff") || line.contains("#000");
        assert!(print || colours.count() == 0, "{line}");
    }
}
