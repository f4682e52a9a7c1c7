//! The contrast of colours, computed over a stylesheet's tokens in both themes; the bank's page has its own tokens and uses
//! this too.

use std::collections::BTreeMap;

type Colour = [f64; 3];

fn colour(text: &str) -> Colour {
    let digits = text.trim().strip_prefix('#').unwrap_or_else(|| panic!("{text} is no colour"));
    let part = |at: usize| f64::from(u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal")) / 255.0;
    [part(0), part(2), part(4)]
}

/// The tokens of a stylesheet, light and dark.
fn tokens(style: &str) -> BTreeMap<String, (Colour, Colour)> {
    let mut tokens = BTreeMap::new();
    let blocks = style.split(":root {").skip(1).filter_map(|rest| rest.split('}').next());
    for line in blocks.flat_map(str::lines) {
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

/// Fails where one of these pairs has less than this contrast in one of the themes.
pub(crate) fn check(style: &str, pairs: &[(&str, &str)], least: f64) {
    let tokens = tokens(style);
    for (front, back) in pairs {
        let (front_colour, back_colour) = (tokens[*front], tokens[*back]);
        for (theme, contrast) in
            [("light", contrast(front_colour.0, back_colour.0)), ("dark", contrast(front_colour.1, back_colour.1))]
        {
            assert!(contrast >= least, "{front} on {back}, {theme}: {contrast:.2}");
        }
    }
}
