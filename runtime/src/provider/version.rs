//! What version a vendor's program is, and whether its events are understood. Pure.

use super::command::Needs;

/// Why a program will not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It says no version.
    #[error("cannot tell the version of {program}: it says {said:?}; fix: {fix}")]
    Unknown {
        /// The program.
        program: String,
        /// What it says.
        said: String,
        /// What to do.
        fix: &'static str,
    },
    /// It is too old.
    #[error("cannot use {program} {version}: the oldest that will do is {oldest}; fix: {fix}")]
    TooOld {
        /// The program.
        program: String,
        /// Its version.
        version: String,
        /// What it has to be.
        oldest: String,
        /// What to do.
        fix: &'static str,
    },
}

/// A program that will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Its version.
    pub version: String,
    /// Whether it asks before it acts, and blocks what it cannot ask for.
    pub asks: bool,
}

/// Judges what a program says when it is asked for its version.
///
/// # Errors
/// When it will not do.
pub fn judge(program: &str, said: &str, needs: Needs) -> Result<Fit, Unfit> {
    let Some(version) = said.split_ascii_whitespace().find_map(parse) else {
        return Err(Unfit::Unknown {
            program: program.to_owned(),
            said: said.trim().chars().take(SAID_CHARACTERS_MAX).collect(),
            fix: needs.fix,
        });
    };
    if version < needs.oldest {
        return Err(Unfit::TooOld {
            program: program.to_owned(),
            version: written(version),
            oldest: written(needs.oldest),
            fix: needs.fix,
        });
    }
    Ok(Fit {
        version: written(version),
        asks: needs.oldest_asking.is_some_and(|oldest| version >= oldest),
    })
}

fn parse(word: &str) -> Option<[u32; 3]> {
    let word = word.trim_start_matches('v');
    // What follows a dash or a plus tells builds of one version apart.
    let word = word.split(['-', '+', ',']).next()?;
    let mut numbers = word.split('.').map(|number| number.parse().ok());
    let version = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(version)
}

fn written([major, minor, patch]: [u32; 3]) -> String {
    format!("{major}.{minor}.{patch}")
}

const SAID_CHARACTERS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::{Needs, judge};

    #[test]
    fn only_a_version_that_is_understood_will_do() {
        let needs = Needs {
            oldest: [1, 2, 0],
            oldest_asking: Some([2, 0, 30]),
            fix: "update it",
        };
        let check = |said: &str, expected: Option<&str>| {
            let found = judge("agent", said, needs).ok();
            let asks = expected.is_some_and(|version| version.starts_with('2'));
            let version = found.as_ref().map(|fit| fit.version.as_str());
            assert_eq!(version, expected, "{said:?}");
            assert_eq!(found.is_some_and(|fit| fit.asks), asks, "{said:?}");
        };
        check("", None);
        check("agent: not found", None);
        check("1.2", None);
        check("1.1.9 (Agent)", None);
        check("1.2.0 (Agent)", Some("1.2.0"));
        check("agent-cli v2.0.30-beta.1\n", Some("2.0.30"));
    }
}
