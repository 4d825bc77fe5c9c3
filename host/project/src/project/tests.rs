use super::*;

fn dir_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("writable");
    }
    dir
}

#[test]
fn what_new_writes_is_read_again() {
    for language in Language::ALL {
        let dir = dir_with(&[(PROJECT_FILE, &describe("seats-2", language))]);
        let project = Project::find(dir.path()).expect("a project");
        assert_eq!(
            (project.name.as_str(), project.language),
            ("seats-2", language)
        );
        assert!(project.module().ends_with("build/seats-2.wasm"));
    }
}

#[test]
fn a_package_of_cargo_is_a_project_in_rust() {
    let dir = dir_with(&[("Cargo.toml", "[package]\nname = \"seats\"\n")]);
    let project = Project::find(dir.path()).expect("a project");
    assert_eq!(
        (project.name.as_str(), project.language),
        ("seats", Language::Rust)
    );
}

#[test]
fn a_directory_without_a_project_says_what_to_do() {
    let dir = dir_with(&[]);
    let error = Project::find(dir.path()).expect_err("empty").to_string();
    assert!(error.contains("oarlock new"), "{error}");
    let error = Project::find(&dir.path().join("none")).expect_err("not there");
    assert!(matches!(error, ProjectError::NoProject { .. }), "{error}");
}

#[test]
fn an_invalid_description_is_refused_with_the_reason() {
    for (text, named) in [
        ("name", "not TOML"),
        ("name = \"a\"", "`language`"),
        ("name = \"a\"\nlanguage = \"cobol\"", "rust, python"),
        ("name = \"../a\"\nlanguage = \"c\"", "name"),
        ("name = \"a\"\nlanguage = \"c\"\nport = 1", "`port`"),
        ("name = 1\nlanguage = \"c\"", "`name`"),
    ] {
        let dir = dir_with(&[(PROJECT_FILE, text)]);
        let error = Project::find(dir.path()).expect_err(text).to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
}
