//! Contrast of the colours, computed over the stylesheet's tokens in both themes.

use std::collections::BTreeMap;

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

type Colour = [f64; 3];

fn colour(text: &str) -> Colour {
    let digits = text.trim().strip_prefix('#').unwrap_or_else(|| panic!("{text} is no colour"));
    let part = |at: usize| f64::from(u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal")) / 255.0;
    [part(0), part(2), part(4)]
}

/// The tokens, light and dark.
fn tokens() -> BTreeMap<String, (Colour, Colour)> {
    let root = STYLE.split(":root {").nth(1).and_then(|rest| rest.split('}').next()).expect("tokens");
    let mut tokens = BTreeMap::new();
    for line in root.lines() {
        let Some((name, value)) = line.trim().strip_prefix("--").and_then(|line| line.split_once(':')) else {
            continue;
        };
        let value = value.trim().trim_end_matches(';');
        if let Some(pair) = value.strip_prefix("light-dark(").and_then(|rest| rest.strip_suffix(')')) {
            let (light, dark) = pair.split_once(',').expect("two");
            tokens.insert(name.to_owned(), (colour(light), colour(dark)));
        } else if value.starts_with('#') {
            tokens.insert(name.to_owned(), (colour(value), colour(value)));
        }
    }
    tokens
}

fn luminance(colour: Colour) -> f64 {
    let linear = |part: f64| if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) };
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
}

fn contrast(a: Colour, b: Colour) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn check(pairs: &[(&str, &str)], least: f64) {
    let tokens = tokens();
    for (front, back) in pairs {
        let (front_colour, back_colour) = (tokens[*front], tokens[*back]);
        for (theme, contrast) in
            [("light", contrast(front_colour.0, back_colour.0)), ("dark", contrast(front_colour.1, back_colour.1))]
        {
            assert!(contrast >= least, "{front} on {back}, {theme}: {contrast:.2}");
        }
    }
}

#[test]
fn text_can_be_read_in_both_themes() {
    check(TEXTS, 4.5);
}

#[test]
fn lines_that_mean_something_can_be_seen_in_both_themes() {
    check(LINES, 3.0);
}

#[test]
fn letters_can_be_read_on_every_service_s_colour() {
    let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| ("glyph-ink", name.as_str())).collect();
    check(&pairs, 4.5);
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
