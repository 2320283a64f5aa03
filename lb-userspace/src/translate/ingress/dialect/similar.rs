//! What somebody may have meant.

/// Most letters that may differ.
const MAX_DISTANCE: usize = 3;

/// The name that is nearest to a text, if one is near at all.
pub(in crate::translate) fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|name| (distance(text, name), name)).min()?;
    (near.0 <= MAX_DISTANCE.min(near.1.len() / 3)).then_some(near.1)
}

/// Letters to insert, delete or replace (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.bytes().take(128).enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, wanted) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != wanted);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let names = || ["proxy-body-size", "rewrite-target", "auth-url"].into_iter();
        assert_eq!(nearest("proxy-bodysize", names()), Some("proxy-body-size"));
        assert_eq!(nearest("rewrite-traget", names()), Some("rewrite-target"));
        assert_eq!(nearest("client-max-body-size", names()), None);
        assert_eq!(nearest("", names()), None);
    }
}
