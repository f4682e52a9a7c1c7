//! Contrast of the page's colours, computed over the stylesheet's tokens in both themes.

#[path = "../../reporting/tests/contrast/mod.rs"]
mod contrast;

use contrast::check;
use dacapo_web::page::STYLE;

/// Text on these backgrounds: `(text, background)`.
const TEXTS: &[(&str, &str)] = &[
    ("ink", "paper"),
    ("ink", "card"),
    ("ink", "sunk"),
    ("ink", "quiet-back"),
    ("ink", "good-back"),
    ("ink", "warn-back"),
    ("ink", "bad-back"),
    ("faint", "paper"),
    ("faint", "card"),
    ("faint", "sunk"),
    ("link", "card"),
    ("link", "paper"),
    ("good", "good-back"),
    ("good", "card"),
    ("good", "warn-back"),
    ("warn", "warn-back"),
    ("warn", "card"),
    ("bad", "bad-back"),
    ("accent", "card"),
    ("accent-ink", "accent"),
    ("deep-ink", "deep"),
    ("deep-ink", "deep-2"),
    ("deep-faint", "deep"),
    ("deep-faint", "deep-2"),
];
/// Lines that carry meaning: fields, focus, the chosen account, the dot of the line.
const LINES: &[(&str, &str)] = &[
    ("field", "card"),
    ("field", "sunk"),
    ("focus", "card"),
    ("focus", "paper"),
    ("accent", "card"),
    ("good", "card"),
    ("bad", "card"),
    ("warn", "card"),
];

#[test]
fn text_can_be_read_in_both_themes() {
    check(&STYLE, TEXTS, 4.5);
}

#[test]
fn lines_that_mean_something_can_be_seen_in_both_themes() {
    check(&STYLE, LINES, 3.0);
}

#[test]
fn every_colour_is_a_token() {
    let (_, rules) = STYLE.split_once("--side").expect("the page's own rules follow its tokens");
    for line in rules.lines() {
        let mut colours = line.split('#').skip(1).filter(|rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            matches!(digits, 3 | 6 | 8) || (digits == 4 && line.contains("::backdrop"))
        });
        let is_backdrop = line.contains("::backdrop");
        assert!(is_backdrop || colours.next().is_none(), "{line}");
    }
}
