//! What the agent changed, as text for people.

use super::git::Call;
use super::{BranchError, Workspace};

impl Workspace {
    /// Returns all changes since the base as one patch; a longer one is cut, and says so.
    ///
    /// # Errors
    /// When the runtime's own repository cannot be read.
    pub async fn diff(&self) -> Result<String, BranchError> {
        let call = Call::new("show the agent's changes", &self.kept())
            .arguments(["diff", "--no-color", "--no-ext-diff", "--no-textconv"])
            .arguments(["--end-of-options", self.base.as_str(), self.tip.as_str()]);
        let mut text = self.git.run(call).await?.text();
        if text.len() > DIFF_BYTES_MAX {
            let mut end = DIFF_BYTES_MAX;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(CUT);
        }
        Ok(text)
    }
}

const DIFF_BYTES_MAX: usize = 512 * 1024;
const CUT: &str = "\n[cut here: the whole is in the branch of the runtime's own repository]\n";
