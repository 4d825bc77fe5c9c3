//! Builds the module of a project. Each language has its own tools.

mod c;
mod javascript;
mod python;
mod rust;

use std::fs;
use std::path::PathBuf;

use crate::error::ProjectError;
use crate::language::Language;
use crate::project::Project;
use crate::tools::Progress;

impl Project {
    /// Builds the module, and returns its path: [`Self::module`]. Programs that it runs write their messages to standard
    /// error. Tools for Python and JavaScript are installed into the project's directory once, in the versions that the
    /// project pins. `progress` is called before each step that takes time.
    ///
    /// # Errors
    /// A tool is missing, or fails.
    pub fn build(&self, progress: Progress<'_>) -> Result<PathBuf, ProjectError> {
        let folder = self.build_dir();
        fs::create_dir_all(&folder).map_err(ProjectError::file("create", &folder))?;
        match self.language {
            Language::Rust => rust::build(self, progress)?,
            Language::Python => python::build(self, progress)?,
            Language::JavaScript => javascript::build(self, progress)?,
            Language::C => c::build(self, progress)?,
        }
        Ok(self.module())
    }
}
