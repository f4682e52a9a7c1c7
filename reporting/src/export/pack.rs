//! Pictures made small: their markup as templates, each once, and the numbers that go into them.
//!
//! Windows of one diagram differ in little but coordinates, steps and positions. A page that stands alone carries them
//! like this, and its script puts them together when they come into view. What is packed is markup of our own making; the
//! script only puts numbers back where they were.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// Stands for a number in a template. No name can hold it; in a text it is replaced.
const HOLE: char = '\u{1}';
/// Stands for the number of an earlier hole of the template, which the character behind it counts from `0`.
const SAME: char = '\u{2}';
/// Longer rows of digits stay in the template: a script's numbers end at 2^53.
const DIGITS_MAX: usize = 15;
/// Hexadecimal numbers of so many digits are names, drawn by chance and met again and again.
const NAME_MIN: usize = 16;
/// What a reference to a name begins with; no digit.
const NAME: char = '~';
/// Holes among which repetitions are looked for.
const REPEATED_MAX: usize = 10;

/// Pieces that were packed together.
#[derive(Debug, Default, Serialize)]
pub(super) struct Packed {
    /// The templates, with holes.
    templates: Vec<String>,
    /// For each piece: a template's number, what goes into its holes, the next template's number, and so on.
    pieces: Vec<Vec<Part>>,
    /// What stands for long hexadecimal numbers.
    names: Vec<String>,
    #[serde(skip)]
    known: BTreeMap<String, usize>,
    #[serde(skip)]
    known_names: BTreeMap<String, usize>,
    #[serde(skip)]
    beginnings: &'static [&'static str],
}

/// A number, or a text: digits that begin with a zero, or [`NAME`] and the number of a name.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(untagged)]
enum Part {
    Number(u64),
    Text(String),
}

/// What is known of a template's hole after all its uses.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Settled {
    /// It is always this.
    Always(Part),
    /// It differs.
    Differs,
    /// It is always what went into that hole.
    Repeats(usize),
}

impl Settled {
    fn meets(&mut self, part: &Part) {
        if matches!(self, Self::Always(known) if known != part) {
            *self = Self::Differs;
        }
    }
}

impl Packed {
    /// Templates are cut before these.
    pub(super) fn beginning_with(beginnings: &'static [&'static str]) -> Self {
        Self { beginnings, ..Self::default() }
    }

    /// Adds a piece of markup.
    pub(super) fn add(&mut self, markup: &str) {
        let mut piece = Vec::new();
        let mut cuts: Vec<usize> =
            self.beginnings.iter().flat_map(|begin| markup.match_indices(begin).map(|(at, _)| at)).collect();
        cuts.extend([0, markup.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        for ends in cuts.windows(2) {
            self.part(&markup[ends[0]..ends[1]], &mut piece);
        }
        self.pieces.push(piece);
    }

    fn part(&mut self, markup: &str, piece: &mut Vec<Part>) {
        let (mut template, mut parts, mut rest) = (String::new(), Vec::new(), markup);
        while let Some(letter) = rest.chars().next() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let hexadecimal = rest.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
            let taken = if hexadecimal >= NAME_MIN && hexadecimal > digits {
                template.push(HOLE);
                parts.push(self.name(&rest[..hexadecimal]));
                hexadecimal
            } else if digits > DIGITS_MAX {
                template.push_str(&rest[..digits]);
                digits
            } else if digits > 0 {
                let run = &rest[..digits];
                let plain = digits == 1 || !run.starts_with('0');
                template.push(HOLE);
                parts.push(run.parse().ok().filter(|_| plain).map_or_else(|| Part::Text(run.to_owned()), Part::Number));
                digits
            } else {
                template.push(if [HOLE, SAME].contains(&letter) { char::REPLACEMENT_CHARACTER } else { letter });
                letter.len_utf8()
            };
            rest = &rest[taken..];
        }
        let next = self.templates.len();
        let number = *self.known.entry(template).or_insert_with_key(|template| {
            self.templates.push(template.clone());
            next
        });
        piece.push(Part::Number(number as u64));
        piece.append(&mut parts);
    }

    /// A name that was drawn by chance: it stands once, and is referred to.
    fn name(&mut self, name: &str) -> Part {
        let next = self.names.len();
        let number = *self.known_names.entry(name.to_owned()).or_insert_with(|| {
            self.names.push(name.to_owned());
            next
        });
        Part::Text(format!("{NAME}{number}"))
    }

    /// Puts numbers that are the same wherever a template is used into the template, and has it repeat those that are always
    /// equal to an earlier one.
    fn settle(&mut self) {
        let holes: Vec<usize> = self.templates.iter().map(|template| template.matches(HOLE).count()).collect();
        let mut settled: Vec<Option<Vec<Settled>>> = vec![None; self.templates.len()];
        self.uses(&holes, |template, parts| match &mut settled[template] {
            None => settled[template] = Some(parts.iter().cloned().map(Settled::Always).collect()),
            Some(known) => known.iter_mut().zip(parts).for_each(|(known, part)| known.meets(part)),
        });
        // Only a few holes are told apart by one character.
        let mut equal: Vec<Option<BTreeSet<(usize, usize)>>> = vec![None; self.templates.len()];
        self.uses(&holes, |template, parts| {
            let pairs = |known: Option<&BTreeSet<(usize, usize)>>| {
                let all = (0..parts.len().min(REPEATED_MAX))
                    .flat_map(|later| (0..later).map(move |earlier| (earlier, later)));
                let holds = |pair: &(usize, usize)| {
                    parts[pair.0] == parts[pair.1] && known.is_none_or(|known| known.contains(pair))
                };
                all.filter(holds).collect()
            };
            equal[template] = Some(pairs(equal[template].as_ref()));
        });
        for (settled, equal) in settled.iter_mut().zip(&equal) {
            for (earlier, later) in equal.iter().flatten() {
                if let Some(settled) = settled
                    && settled[*earlier] == Settled::Differs
                    && settled[*later] == Settled::Differs
                {
                    let place = settled[..*earlier].iter().filter(|one| **one == Settled::Differs).count();
                    settled[*later] = Settled::Repeats(place);
                }
            }
        }
        for piece in &mut self.pieces {
            let mut parts = std::mem::take(piece).into_iter();
            while let Some(Part::Number(template)) = parts.next() {
                piece.push(Part::Number(template));
                for settled in settled[template as usize].iter().flatten() {
                    piece.extend(parts.next().filter(|_| *settled == Settled::Differs));
                }
            }
        }
        for (template, settled) in self.templates.iter_mut().zip(&settled) {
            let mut texts = template.split(HOLE);
            let mut text = texts.next().unwrap_or_default().to_owned();
            for (behind, settled) in texts.zip(settled.iter().flatten()) {
                match settled {
                    Settled::Always(Part::Number(number)) => text.push_str(&number.to_string()),
                    Settled::Always(Part::Text(part)) => {
                        let number = part.strip_prefix(NAME).and_then(|number| number.parse::<usize>().ok());
                        text.push_str(number.and_then(|number| self.names.get(number)).unwrap_or(part));
                    }
                    Settled::Differs => text.push(HOLE),
                    Settled::Repeats(place) => text.extend([SAME, char::from(b'0' + *place as u8)]),
                }
                text.push_str(behind);
            }
            *template = text;
        }
    }

    /// Shows every use of a template.
    fn uses(&self, holes: &[usize], mut show: impl FnMut(usize, &[Part])) {
        for piece in &self.pieces {
            let mut rest = piece.as_slice();
            while let Some((Part::Number(template), parts)) = rest.split_first() {
                let (parts, others) = parts.split_at(holes[*template as usize]);
                show(*template as usize, parts);
                rest = others;
            }
        }
    }

    /// For a script element: no `<` is left that could end it.
    pub(super) fn into_json(mut self) -> String {
        self.settle();
        let json = serde_json::to_string(&self).unwrap_or_else(|error| panic!("templates are plain data: {error}"));
        json.replace('<', "\\u003c")
    }

    /// What the script makes of a piece: for tests.
    #[cfg(test)]
    fn unpack(&self, piece: usize) -> String {
        let mut parts = self.pieces[piece].iter();
        let mut markup = String::new();
        while let Some(Part::Number(template)) = parts.next() {
            let mut filled: Vec<String> = Vec::new();
            let mut letters = self.templates[*template as usize].chars();
            while let Some(letter) = letters.next() {
                match letter {
                    HOLE => {
                        let part = parts.next().expect("a hole is filled");
                        filled.push(match part {
                            Part::Number(number) => number.to_string(),
                            Part::Text(text) => match text.strip_prefix(NAME) {
                                Some(number) => self.names[number.parse::<usize>().expect("a number")].clone(),
                                None => text.clone(),
                            },
                        });
                        markup.push_str(filled.last().expect("just filled"));
                    }
                    SAME => {
                        let place = letters.next().and_then(|place| place.to_digit(10)).expect("a place");
                        markup.push_str(&filled[place as usize]);
                    }
                    letter => markup.push(letter),
                }
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
        let pieces = [
            "<path d=\"M1 20L300 -4\"></path><text>0.043s of acc-7</text>",
            "<path d=\"M9 8L9 -6\"></path><text>0.250s of acc-12</text>",
            "<path d=\"M5 8L5 -6\"></path><text>0.250s of acc-12 and 12</text>",
            "<path d=\"M5 8L5 -6\"></path><text>0.251s of acc-13 and 13</text>",
            "<text>0.251s of e743fcd818c57be3a3b1f8fc32b7a9a7</text><text>0.252s of e743fcd818c57be3a3b1f8fc32b7a9a7</text>",
        ];
        let mut packed = Packed::beginning_with(&["<path", "<text"]);
        for piece in pieces {
            packed.add(piece);
        }
        packed.settle();
        assert_eq!((packed.templates.len(), packed.names.len()), (4, 1));
        assert!(packed.templates[1].starts_with("<text>0."), "what never changes is no hole: {:?}", packed.templates);
        assert!(packed.templates[2].contains(SAME), "what is always the same as another is told once");
        for (number, piece) in pieces.iter().enumerate() {
            assert_eq!(packed.unpack(number), *piece);
        }
        assert!(!packed.into_json().contains('<'));
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(texts in proptest::collection::vec("<[a-z0-9 =\"<>\\PC]{0,60}[0-9a-f]{0,40}", 1..6)) {
            let mut packed = Packed::beginning_with(&["<", "a"]);
            for text in &texts {
                packed.add(text);
            }
            packed.settle();
            for (piece, text) in texts.iter().enumerate() {
                prop_assert_eq!(&packed.unpack(piece), text);
            }
        }
    }
}
