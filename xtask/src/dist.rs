//! `cargo xtask dist`: what is handed to others, a tarball and its checksum.
//!
//! Guarantees: the binary in it is built with the profile `dist`, unless one is given; the completions are that
//! binary's own; the licences are those of all that is linked into it.
//! It publishes nothing, and signs nothing.

mod licences;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::step::{self, Outcome};

/// What is beside the binary, from the root of the workspace.
const BESIDE: [&str; 4] = ["LICENSE-MIT", "LICENSE-APACHE", "README.md", "CHANGELOG.md"];
/// The licences of what is linked into the binary.
const LICENCES: &str = "LICENSES-OF-DEPENDENCIES.txt";
/// Shells, and the name under which each looks for a script.
const COMPLETIONS: [(&str, &str); 3] = [("bash", "tidings.bash"), ("zsh", "_tidings"), ("fish", "tidings.fish")];

/// What to pack, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// This program instead of one with the profile `dist`, which takes a quarter of an hour of processor time.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// The folder of the tarball; `target/packages` by default.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Builds, packs and tells where the tarball is.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let out = arguments.out.clone().map_or_else(|| Ok(step::target()?.join("packages")), Ok::<_, String>)?;
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => {
            step::run(&mut step::cargo(&["build", "--profile", "dist", "--package", "tidings", "--bin", "tidings"]))?;
            step::target()?.join("dist/tidings")
        }
    };
    let tarball = pack(&binary, &out)?;
    println!("{}\n{}", tarball.display(), sum_of(&tarball).display());
    Ok(())
}

/// Makes the tarball and its checksum in a folder.
fn pack(binary: &Path, out: &Path) -> Result<PathBuf, String> {
    let failed = |place: &Path| {
        let place = place.display().to_string();
        move |error: std::io::Error| format!("{place}: {error}")
    };
    fs::create_dir_all(out).map_err(failed(out))?;
    let out = std::path::absolute(out).map_err(failed(out))?;
    let metadata = metadata()?;
    let name = name(&metadata)?;
    let staging = tempfile::tempdir_in(&out).map_err(failed(&out))?;
    let folder = staging.path().join(&name);
    fs::create_dir_all(folder.join("completions")).map_err(failed(&folder))?;
    fs::copy(binary, folder.join("tidings")).map_err(failed(binary))?;
    for file in BESIDE {
        let place = step::workspace().join(file);
        fs::copy(&place, folder.join(file)).map_err(failed(&place))?;
    }
    for (shell, file) in COMPLETIONS {
        let script = step::output(Command::new(folder.join("tidings")).args(["completions", shell]))?;
        fs::write(folder.join("completions").join(file), script).map_err(failed(&folder))?;
    }
    fs::write(folder.join(LICENCES), licences::of(&metadata)?).map_err(failed(&folder))?;
    let tarball = out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--file"]);
    step::run(tar.arg(&tarball).arg("--directory").arg(staging.path()).arg(&name))?;
    // By its name alone, so that it is checked wherever both lie.
    let sum = step::output(Command::new("sha256sum").arg(format!("{name}.tar.gz")).current_dir(&out))?;
    fs::write(sum_of(&tarball), sum).map_err(failed(&tarball))?;
    Ok(tarball)
}

fn sum_of(tarball: &Path) -> PathBuf {
    tarball.with_added_extension("sha256")
}

/// What cargo knows of the workspace and everything that it depends on.
fn metadata() -> Result<Value, String> {
    let text = step::output(&mut step::cargo(&["metadata", "--format-version", "1", "--locked"]))?;
    serde_json::from_str(&text).map_err(|error| format!("what cargo says of the workspace: {error}"))
}

/// The program, its version and the kind of machine that it is for.
fn name(metadata: &Value) -> Result<String, String> {
    let packages = metadata["packages"].as_array().ok_or("cargo names no packages")?;
    let own = packages.iter().find(|package| package["name"] == "tidings").ok_or("cargo does not know tidings")?;
    let rustc = step::output(Command::new("rustc").arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not name its host")?;
    Ok(format!("tidings-{}-{host}", own["version"].as_str().ok_or("tidings has no version")?))
}

/// The step `dist` of `cargo xtask test`: packs the release binary, and looks into the tarball.
pub(crate) fn test() -> Outcome {
    let out = tempfile::tempdir_in(step::target()?).map_err(|error| error.to_string())?;
    let tarball = pack(&step::server()?, out.path())?;
    step::run(Command::new("sha256sum").args(["--check", "--strict"]).arg(sum_of(&tarball)).current_dir(out.path()))?;
    step::run(Command::new("tar").arg("--extract").arg("--file").arg(&tarball).current_dir(out.path()))?;
    let name = name(&metadata()?)?;
    let folder = out.path().join(&name);
    let said = step::output(Command::new(folder.join("tidings")).arg("--version"))?;
    let version = said.trim().strip_prefix("tidings ").unwrap_or_default();
    if version.is_empty() || !name.starts_with(&format!("tidings-{version}-")) {
        return Err(format!("{name} holds a program that says {said:?}"));
    }
    let shells = COMPLETIONS.map(|(_, file)| (format!("completions/{file}"), "tail"));
    let needed = BESIDE.map(|file| (file.to_owned(), "")).into_iter().chain(shells);
    // What is compiled from C has its licence deeper than others.
    let licences = ["serde_json ", "tokio ", "mimalloc", "ring"].map(|name| (LICENCES.to_owned(), name));
    for (file, word) in needed.chain(licences) {
        let text = fs::read_to_string(folder.join(&file)).map_err(|error| format!("{file}: {error}"))?;
        if text.trim().is_empty() || !text.contains(word) {
            return Err(format!("{file} does not have {word:?}"));
        }
    }
    Ok(())
}
