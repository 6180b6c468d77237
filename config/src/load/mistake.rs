//! Mistakes in settings: where each stands, and what is wrong with it.

use std::fmt;
use std::path::Path;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// File and line, variable or flag.
    pub place: String,
    /// The key, if there is one.
    pub key: String,
    /// What is wrong, and the fix.
    pub message: String,
}

impl Mistake {
    /// Builds a mistake in a file.
    #[must_use]
    pub fn in_file(
        path: &Path,
        line: Option<usize>,
        key: &str,
        message: impl Into<String>,
    ) -> Self {
        let place = match line {
            Some(line) => format!("{}:{line}", path.display()),
            None => path.display().to_string(),
        };
        Self {
            place,
            key: key.to_owned(),
            message: message.into(),
        }
    }

    /// Builds a mistake in a variable or a flag.
    #[must_use]
    pub fn named(name: &str, key: &str, message: impl Into<String>) -> Self {
        Self {
            place: name.to_owned(),
            key: key.to_owned(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(formatter, "{}: {}", self.place, self.message)
        } else {
            write!(formatter, "{}: {}: {}", self.place, self.key, self.message)
        }
    }
}

/// All mistakes of one load; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str("\n")?;
            }
            mistake.fmt(formatter)?;
        }
        Ok(())
    }
}
