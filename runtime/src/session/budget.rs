//! What a session may use before it pauses and asks. Pure.

use config::contract::session::SessionView;
use config::runtime::Budget;

/// Tells which budget a session has used up, if any. Each time that a person lets it go on grants the
/// whole budget once more.
#[must_use]
pub(super) fn exceeded(view: &SessionView, budget: &Budget, disk_bytes: u64) -> Option<String> {
    let granted = view.usage.budgets_granted.saturating_add(1);
    let times = u64::from(granted);
    let usage = &view.usage;
    if let (Some(most), Some(spent)) = (view.budget_usd.or(budget.usd), view.cost_usd) {
        let most = most * f64::from(granted);
        if spent >= most {
            return Some(format!("it cost {spent:.2} of {most:.2} US dollars"));
        }
    }
    let tokens = usage.input_tokens.saturating_add(usage.output_tokens);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "seconds of work are positive and few"
    )]
    let seconds = usage.work_seconds as u64;
    for (most, used, what) in [
        (budget.tokens, tokens, "tokens"),
        (budget.work_seconds, seconds, "seconds of work"),
        (budget.disk_bytes, disk_bytes, "bytes on disk"),
    ] {
        if let Some(most) = most.map(|most| most.saturating_mul(times))
            && used >= most
        {
            return Some(format!("it used {used} of {most} {what}"));
        }
    }
    None
}
