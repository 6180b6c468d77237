//! Both daemons started anew, with other variables.

use super::Deployment;

impl Deployment {
    /// Stops both daemons and starts them with these variables besides.
    ///
    /// # Panics
    /// When they do not end in order, or do not start.
    pub fn restart_with(&mut self, variables: &[(&str, String)]) {
        for (name, value) in variables {
            self.installation.set(name, value.as_str());
        }
        self.restart();
    }

    /// Stops both daemons and starts them without these variables.
    ///
    /// # Panics
    /// When they do not end in order, or do not start.
    pub fn restart_without(&mut self, variables: &[&str]) {
        for name in variables {
            self.installation.unset(name);
        }
        self.restart();
    }

    fn restart(&mut self) {
        assert_eq!([self.stop_gateway(), self.stop_runtime()], [Some(0); 2]);
        self.start_runtime();
        self.start_gateway();
    }
}
