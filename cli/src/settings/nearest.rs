//! The name that somebody meant who wrote another.

/// The nearest of these, if it is near enough to be a slip of the pen. A prefix before a dot may have been left out.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let whole = |known: &str| distance(name, known);
    let last = |known: &str| known.rsplit_once('.').map_or(usize::MAX, |(_, last)| distance(name, last));
    names
        .map(|known| (whole(known).min(last(known)), known))
        .min()
        .filter(|(distance, _)| *distance <= name.len().min(9) / 3)
        .map(|(_, known)| known)
}

/// How many letters must be put in, taken out, or replaced; two that changed places count as two.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, known) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *known);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let names = || ["listen", "limits.grace", "auth"].into_iter();
        assert_eq!(nearest("lisen", names()), Some("listen"));
        assert_eq!(nearest("limits.garce", names()), Some("limits.grace"));
        assert_eq!(nearest("grae", names()), Some("limits.grace"));
        assert_eq!(nearest("colour", names()), None);
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
