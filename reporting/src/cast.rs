//! How services are told apart in pictures: by colour, by shape and by letters, never by colour alone.
//!
//! The colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart. Who comes first by
//! name gets the first; with more services than colours they begin anew with another pairing of colour and shape.

use std::collections::BTreeMap;

use maud::{Markup, html};

/// Colours in the stylesheet: `.c0` to `.c7`.
const COLOURS: usize = 8;
/// Shapes below.
const SHAPES: usize = 6;

/// How one service looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The number of its colour.
    pub colour: usize,
    /// The number of its shape.
    pub shape: usize,
    /// One or two letters.
    pub letters: String,
}

/// Everybody who appears in the pictures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cast(BTreeMap<String, Look>);

impl Cast {
    /// These, by name.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut cast: BTreeMap<String, Look> = BTreeMap::new();
        for name in names {
            cast.entry(name.to_owned()).or_insert_with(|| Look { colour: 0, shape: 0, letters: String::new() });
        }
        let all: Vec<String> = cast.keys().cloned().collect();
        for (index, (name, look)) in cast.iter_mut().enumerate() {
            look.colour = index % COLOURS;
            look.shape = (index % COLOURS + index / COLOURS) % SHAPES;
            look.letters = letters(name, &all);
        }
        Self(cast)
    }

    /// How this one looks; a stranger looks like nobody else.
    pub fn look(&self, name: &str) -> Look {
        let stranger = || Look { colour: COLOURS - 1, shape: 0, letters: "?".to_owned() };
        self.0.get(name).cloned().unwrap_or_else(stranger)
    }

    /// Names and looks, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Look)> {
        self.0.iter().map(|(name, look)| (name.as_str(), look))
    }
}

/// The first letter, or two where others begin with it too.
fn letters(name: &str, all: &[String]) -> String {
    let plain = |name: &str| name.trim_start_matches('$').to_uppercase();
    let own = plain(name);
    let first = own.chars().next();
    let shared = all.iter().filter(|other| plain(other).chars().next() == first).count() > 1;
    own.chars().take(if shared { 2 } else { 1 }).collect()
}

/// The shape with the letters in it, about a point of a picture.
pub fn glyph(look: &Look, x: i32, y: i32) -> Markup {
    let around = |offsets: &[(i32, i32)]| {
        let points: Vec<String> = offsets.iter().map(|(dx, dy)| format!("{},{}", x + dx, y + dy)).collect();
        points.join(" ")
    };
    html! {
        g class={ "glyph c" (look.colour) } {
            @match look.shape {
                0 => circle cx=(x) cy=(y) r="10" {},
                1 => rect x=(x - 9) y=(y - 9) width="18" height="18" rx="2" {},
                2 => polygon points=(around(&[(0, -12), (12, 0), (0, 12), (-12, 0)])) {},
                3 => polygon points=(around(&[(0, -12), (12, 8), (-12, 8)])) {},
                4 => polygon points=(around(&[(-6, -10), (6, -10), (12, 0), (6, 10), (-6, 10), (-12, 0)])) {},
                _ => polygon points=(around(&[(0, -12), (11, -3), (7, 10), (-7, 10), (-11, -3)])) {},
            }
            text x=(x) y=(y + 4) { (look.letters) }
        }
    }
}

/// The shape as a picture of its own, beside a name in a text.
pub fn mark(look: &Look) -> Markup {
    html! { svg class="mark" width="20" height="20" viewBox="-13 -13 26 26" aria-hidden="true" { (glyph(look, 0, 0)) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_begin_alike_have_two_letters() {
        let cast = Cast::of(["accounts", "users", "audit", "$bus"]);
        let letters: Vec<&str> = cast.iter().map(|(_, look)| look.letters.as_str()).collect();
        assert_eq!(letters, ["B", "AC", "AU", "U"]);
    }

    #[test]
    fn no_two_of_two_dozen_look_alike() {
        let names: Vec<String> = (0..24).map(|number| format!("s{number:02}")).collect();
        let cast = Cast::of(names.iter().map(String::as_str));
        let looks: std::collections::BTreeSet<(usize, usize)> =
            cast.iter().map(|(_, look)| (look.colour, look.shape)).collect();
        assert_eq!(looks.len(), 24);
    }
}
