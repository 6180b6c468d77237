//! What was measured in turns, round by round.
//!
//! A machine is faster in one minute than in the next. What is compared was therefore measured in the same round,
//! and of all rounds the comparison in the middle counts.

use crate::figure::Figure;

/// The figures of each round, in the order in which they were measured.
#[derive(Clone, Debug)]
pub(crate) struct Rounds(pub(crate) Vec<Vec<Figure>>);

impl Rounds {
    /// Returns of each figure the one of the round in the middle, with the failures of all.
    pub(crate) fn medians(&self) -> Vec<Figure> {
        let first = self.0.first().map_or(&[][..], Vec::as_slice);
        first
            .iter()
            .map(|one| self.median(&one.key()))
            .collect::<Option<_>>()
            .unwrap_or_default()
    }

    fn median(&self, key: &str) -> Option<Figure> {
        let mut found: Vec<&Figure> = self.0.iter().filter_map(|round| of(round, key)).collect();
        found.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
        let errors = found.iter().map(|figure| figure.errors).sum();
        let unexpected = found.iter().map(|figure| figure.unexpected).sum();
        let middle = (*found.get(found.len() / 2)?).clone();
        Some(Figure {
            errors,
            unexpected,
            ..middle
        })
    }
}

/// Returns a figure of a round.
pub(crate) fn of<'round>(round: &'round [Figure], key: &str) -> Option<&'round Figure> {
    round.iter().find(|figure| figure.key() == key)
}
