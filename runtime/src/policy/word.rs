//! Words of a command as a shell would make them, as far as that can be told before it runs.
//!
//! Invariant: what cannot be told is a hole, never left out. Pure: no I/O, no clock.

/// Stands in a text for what is known only when the command runs.
pub(super) const HOLE: char = '\u{fffc}';

/// One character and whether quotes took its special meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) value: char,
    pub(super) quoted: bool,
}

/// One word after expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// The text; [`HOLE`] where it is not known.
    pub(super) text: String,
    /// Whether it holds a pattern of file names.
    pub(super) glob: bool,
    /// Whether a leading `~` means the home folder.
    pub(super) tilde: bool,
    /// What a file has whose name this is, if it comes from a process substitution that is known.
    pub(super) content: Option<String>,
}

impl Word {
    /// Builds a word that is known.
    pub(super) fn known(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Builds a word that is not known.
    pub(super) fn hole() -> Self {
        Self::known(HOLE.to_string())
    }

    /// Returns whether all of it is known.
    pub(super) fn is_known(&self) -> bool {
        !self.text.contains(HOLE)
    }

    /// Returns the text for people.
    pub(super) fn shown(&self) -> String {
        self.text.replace(HOLE, "…")
    }
}

/// Adds a text whose characters are quoted or not.
pub(super) fn push(letters: &mut Vec<Letter>, text: &str, quoted: bool) {
    letters.extend(text.chars().map(|value| Letter { value, quoted }));
}

/// Adds an unquoted word: a backslash quotes what follows it.
pub(super) fn push_unquoted(letters: &mut Vec<Letter>, text: &str) {
    let mut characters = text.chars();
    while let Some(value) = characters.next() {
        let quoted = value == '\\';
        let value = if quoted {
            characters.next()
        } else {
            Some(value)
        };
        match value {
            Some('\n') if quoted => {}
            Some(value) => letters.push(Letter { value, quoted }),
            None => {}
        }
    }
}

/// Adds what stands between double quotes.
pub(super) fn push_double_quoted(letters: &mut Vec<Letter>, text: &str) {
    let mut characters = text.chars().peekable();
    while let Some(value) = characters.next() {
        let escaped = if value == '\\' {
            characters.next_if(|next| matches!(next, '"' | '\\' | '$' | '`' | '\n'))
        } else {
            None
        };
        match escaped {
            Some('\n') => {}
            Some(value) => push(letters, &value.to_string(), true),
            None => push(letters, &value.to_string(), true),
        }
    }
}

/// Reads the inside of `$'…'`.
pub(super) fn ansi_c(text: &str) -> String {
    let mut read = String::new();
    let mut characters = text.chars().peekable();
    while let Some(value) = characters.next() {
        if value != '\\' {
            read.push(value);
            continue;
        }
        let Some(kind) = characters.next() else {
            break;
        };
        let (radix, most) = match kind {
            'x' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            '0'..='7' => (8, 3),
            'n' | 't' | 'r' | 'a' | 'b' | 'e' | 'E' | 'f' | 'v' => {
                read.push(if kind == 'n' { '\n' } else { ' ' });
                continue;
            }
            other => {
                read.push(other);
                continue;
            }
        };
        let mut digits = String::new();
        if radix == 8 {
            digits.push(kind);
        }
        while digits.len() < most
            && let Some(digit) = characters.next_if(|next| next.is_digit(radix))
        {
            digits.push(digit);
        }
        let code = u32::from_str_radix(&digits, radix).unwrap_or(0);
        read.push(char::from_u32(code).unwrap_or(HOLE));
    }
    read
}

/// Makes words of letters: braces, then blanks from variables, then `~` and patterns of names.
pub(super) fn words(letters: &[Letter]) -> Vec<Word> {
    let mut alternatives = Vec::new();
    braces(letters, &mut alternatives, 0);
    alternatives
        .iter()
        .flat_map(|letters| {
            letters
                .split(|letter| !letter.quoted && letter.value.is_whitespace())
                .filter(|part| !part.is_empty())
                .map(word)
                .collect::<Vec<_>>()
        })
        .collect()
}

fn word(letters: &[Letter]) -> Word {
    let special = |letter: &Letter| !letter.quoted && matches!(letter.value, '*' | '?' | '[');
    Word {
        text: letters.iter().map(|letter| letter.value).collect(),
        glob: letters.iter().any(special),
        tilde: letters
            .first()
            .is_some_and(|letter| !letter.quoted && letter.value == '~'),
        content: None,
    }
}

/// Expands the first `{a,b}` and goes on with each alternative.
fn braces(letters: &[Letter], found: &mut Vec<Vec<Letter>>, depth: usize) {
    if found.len() >= ALTERNATIVES_MAX {
        return;
    }
    let group = (depth < BRACES_MAX).then(|| brace_group(letters)).flatten();
    let Some((start, commas, end)) = group else {
        found.push(letters.to_vec());
        return;
    };
    let mut from = start + 1;
    for comma in commas.into_iter().chain([end]) {
        let mut alternative = letters[..start].to_vec();
        alternative.extend(&letters[from..comma]);
        alternative.extend(&letters[end + 1..]);
        braces(&alternative, found, depth + 1);
        from = comma + 1;
    }
}

/// Finds a brace group with a comma: its start, its own commas, its end.
fn brace_group(letters: &[Letter]) -> Option<(usize, Vec<usize>, usize)> {
    let is = |at: usize, value| letters[at].value == value && !letters[at].quoted;
    'starts: for start in 0..letters.len() {
        if !is(start, '{') || (start > 0 && is(start - 1, '$')) {
            continue;
        }
        let mut depth = 0_usize;
        let mut commas = Vec::new();
        for at in start..letters.len() {
            if is(at, '{') {
                depth += 1;
            } else if is(at, ',') && depth == 1 {
                commas.push(at);
            } else if is(at, '}') {
                depth -= 1;
                if depth == 0 {
                    if commas.is_empty() {
                        continue 'starts;
                    }
                    return Some((start, commas, at));
                }
            }
        }
    }
    None
}

const ALTERNATIVES_MAX: usize = 64;
const BRACES_MAX: usize = 8;
