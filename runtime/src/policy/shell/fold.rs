//! What the grammar is given of a text: ASCII alone, at the same places.
//!
//! The grammar's scanner is C. It asks `isdigit` about every code point, which is defined for bytes only, and cuts
//! code points to bytes in the ends of here-documents. A shell reads bytes: to it whatever is not ASCII is a part of
//! a word. So each such byte becomes one sign that is a part of a word too, and nothing the scanner cannot take
//! reaches it. Pure: no I/O, no clock.

use std::borrow::Cow;

/// A text for the grammar, as long as the original, so that places in one are places in the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Folded<'text> {
    pub(super) text: Cow<'text, str>,
    /// Why the folded text may not mean what the original does.
    pub(super) doubt: Option<&'static str>,
}

/// Folds a text.
pub(super) fn fold(text: &str) -> Folded<'_> {
    let control = text.bytes().any(is_strange);
    if text.is_ascii() && !control {
        return Folded {
            text: Cow::Borrowed(text),
            doubt: None,
        };
    }
    // A sign that the text does not have: no folded line equals one that was there before.
    let unused = STAND_INS.iter().find(|sign| !text.contains(**sign));
    let stand_in = *unused.unwrap_or(&STAND_INS[0]);
    let folded = text.chars().flat_map(|value| {
        let strange = !value.is_ascii() || u8::try_from(value).is_ok_and(is_strange);
        std::iter::repeat_n(if strange { stand_in } else { value }, value.len_utf8())
    });
    let doubt = if control {
        Some("it has control characters, which shells and terminals read differently")
    } else if unused.is_none() || ends_a_document_in_other_signs(text) {
        Some("the end of its here-document is not plain ASCII")
    } else {
        None
    };
    Folded {
        text: Cow::Owned(folded.collect()),
        doubt,
    }
}

/// Control characters but a tab and a new line.
fn is_strange(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n')
}

/// Returns whether the name that ends a here-document may hold more than ASCII. It looks at the rest of the line, and
/// takes a line that goes on for such a name: too often is safe.
fn ends_a_document_in_other_signs(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("<<") {
        if let Some(here_string) = after.strip_prefix('<') {
            rest = here_string;
            continue;
        }
        let line = after.split('\n').next().unwrap_or(after);
        let goes_on = line.ends_with('\\')
            || line.matches('\'').count() % 2 == 1
            || line.matches('"').count() % 2 == 1;
        if goes_on || !line.is_ascii() {
            return true;
        }
        rest = after;
    }
    false
}

/// Signs that are a part of a word and never one of a variable's name.
const STAND_INS: &[char] = &['%', ',', '@', '^', '.', ':'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ascii_is_given_as_it_is() {
        let text = "cat <<EOF\n\ta \\$x\nEOF\n";
        assert_eq!(
            fold(text),
            Folded {
                text: Cow::Borrowed(text),
                doubt: None
            }
        );
    }

    #[test]
    fn other_signs_become_one_that_the_text_has_not() {
        let folded = fold("echo 50% é");
        assert_eq!((&*folded.text, folded.doubt), ("echo 50% ,,", None));
    }

    #[test]
    fn the_end_of_a_here_document_is_ascii_or_a_doubt() {
        for doubtful in [
            "cat <<é\nè\n",
            "cat <<'a\né'\n",
            "cat <<\\\né\n",
            "cat << \"a\" é\n",
        ] {
            assert!(fold(doubtful).doubt.is_some(), "{doubtful}");
        }
        for clear in ["cat <<EOF\né\nEOF\n", "cat <<<'é'", "cat <<< é"] {
            assert_eq!(fold(clear).doubt, None, "{clear}");
        }
    }

    #[test]
    fn control_characters_are_a_doubt() {
        for text in ["rm\r-rf /", "a\0b", "\u{1b}[2Jls", "a\u{7f}"] {
            let folded = fold(text);
            assert!(folded.doubt.is_some(), "{text:?}");
            assert!(!folded.text.bytes().any(is_strange), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn places_stay_and_only_ascii_is_left(text in any::<String>()) {
            let folded = fold(&text).text;
            prop_assert_eq!(folded.len(), text.len());
            prop_assert!(folded.is_ascii());
            prop_assert!(!folded.bytes().any(is_strange));
        }
    }
}
