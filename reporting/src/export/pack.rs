//! Pictures made small: their markup as templates, each once, and the numbers that go into them.
//!
//! Windows of one diagram differ in little but coordinates, steps and positions. A page that stands alone carries them
//! like this, and its script puts them together when they come into view. What is packed is markup of our own making; the
//! script only puts numbers back where they were.

use std::collections::BTreeMap;

use serde::Serialize;

/// Stands for a number in a template. No name can hold it; in a text it is replaced.
const HOLE: char = '\u{1}';
/// Longer rows of digits stay in the template: a script's numbers end at 2^53.
const DIGITS_MAX: usize = 15;

/// Pieces that were packed together.
#[derive(Debug, Default, Serialize)]
pub(super) struct Packed {
    /// The templates, with holes.
    templates: Vec<String>,
    /// For each piece: a template's number, what goes into its holes, the next template's number, and so on.
    pieces: Vec<Vec<Part>>,
    #[serde(skip)]
    known: BTreeMap<String, usize>,
}

/// A number, or digits that begin with a zero.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(untagged)]
enum Part {
    Number(u64),
    Digits(String),
}

impl Packed {
    /// Adds a piece of markup.
    pub(super) fn add(&mut self, markup: &str) {
        let mut piece = Vec::new();
        let mut rest = markup;
        while !rest.is_empty() {
            // An element's tag and the text behind it.
            let end = rest[1..].find('<').map_or(rest.len(), |at| at + 1);
            let (element, others) = rest.split_at(end);
            self.element(element, &mut piece);
            rest = others;
        }
        self.pieces.push(piece);
    }

    fn element(&mut self, element: &str, piece: &mut Vec<Part>) {
        let (mut template, mut parts, mut digits) = (String::new(), Vec::new(), String::new());
        let mut flush = |digits: &mut String, template: &mut String| {
            if digits.is_empty() {
                return;
            }
            let run = std::mem::take(digits);
            if run.len() > DIGITS_MAX {
                template.push_str(&run);
                return;
            }
            template.push(HOLE);
            let plain = run.len() == 1 || !run.starts_with('0');
            parts.push(run.parse().ok().filter(|_| plain).map_or(Part::Digits(run), Part::Number));
        };
        for letter in element.chars() {
            if letter.is_ascii_digit() {
                digits.push(letter);
            } else {
                flush(&mut digits, &mut template);
                template.push(if letter == HOLE { char::REPLACEMENT_CHARACTER } else { letter });
            }
        }
        flush(&mut digits, &mut template);
        let next = self.templates.len();
        let number = *self.known.entry(template).or_insert_with_key(|template| {
            self.templates.push(template.clone());
            next
        });
        piece.push(Part::Number(number as u64));
        piece.append(&mut parts);
    }

    /// For a script element: no `<` is left that could end it.
    pub(super) fn to_json(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_else(|error| panic!("templates are plain data: {error}"));
        json.replace('<', "\\u003c")
    }

    /// What the script makes of a piece: for tests.
    #[cfg(test)]
    fn unpack(&self, piece: usize) -> String {
        let mut parts = self.pieces[piece].iter();
        let mut markup = String::new();
        while let Some(Part::Number(template)) = parts.next() {
            let mut texts = self.templates[*template as usize].split(HOLE);
            markup.push_str(texts.next().unwrap_or_default());
            for text in texts {
                match parts.next() {
                    Some(Part::Number(number)) => markup.push_str(&number.to_string()),
                    Some(Part::Digits(digits)) => markup.push_str(digits),
                    None => panic!("a hole is empty"),
                }
                markup.push_str(text);
            }
        }
        markup
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_that_differ_in_numbers_share_their_templates() {
        let mut packed = Packed::default();
        packed.add("<path d=\"M1 20L300 -4\"></path><text>0.043s of acc-7</text>");
        packed.add("<path d=\"M9 8L7 -6\"></path><text>0.250s of acc-12</text>");
        assert_eq!(packed.templates.len(), 4);
        assert_eq!(packed.unpack(0), "<path d=\"M1 20L300 -4\"></path><text>0.043s of acc-7</text>");
        assert!(!packed.to_json().contains('<'));
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(texts in proptest::collection::vec("<[a-z0-9 =\"<>\\PC]{0,60}", 1..6)) {
            let mut packed = Packed::default();
            for text in &texts {
                packed.add(text);
            }
            for (piece, text) in texts.iter().enumerate() {
                prop_assert_eq!(&packed.unpack(piece), text);
            }
        }
    }
}
