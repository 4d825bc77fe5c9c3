//! `oarlock backup`: writes the state of a cluster into a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use oarlock_client::{BackupDownload, Client, RequestError};
use serde_json::json;

use super::connect::{block_on, connect, refused};
use super::output::{print_safely, write_json, write_out};
use crate::backup::{BackupReader, Manifest};
use crate::cli::BackupArgs;
use crate::exit::Failure;
use crate::timestamp::utc;

/// Downloads a backup, checks it, and gives it its name.
///
/// # Errors
/// The file exists, no node sends a backup, or the disk returns an error. No file with this name is left or changed then.
pub(crate) fn backup(args: BackupArgs) -> Result<(), Failure> {
    if !args.force && args.file.exists() {
        return Err(Failure::failed(format!(
            "{} exists; choose another file, or replace it with --force",
            args.file.display()
        )));
    }
    let unfinished = Unfinished::create(&args.file)?;
    block_on(async {
        let client = connect(&args.client)?;
        download(&client, &unfinished.file, &unfinished.path).await
    })?;
    let manifest = check(&unfinished.path)?;
    unfinished.publish(&args.file)?;
    if args.client.output.json {
        let value = json!({ "file": args.file, "backup": manifest });
        return write_json(io::stdout().lock(), &value);
    }
    let text = format!(
        "{}: {}\n",
        print_safely(&args.file.display().to_string()),
        described(&manifest)
    );
    write_out(io::stdout().lock(), text.as_bytes())
}

/// One line about a backup.
pub(super) fn described(manifest: &Manifest) -> String {
    format!(
        "{} version {} of the cluster {}, up to entry {} of {}, state {} bytes",
        print_safely(&manifest.guest),
        manifest.guest_version,
        print_safely(&manifest.cluster_id),
        manifest.index,
        utc(manifest.time_ms),
        manifest.state_bytes
    )
}

/// Downloads a backup into a file, durably. `path` is its name, for errors.
///
/// # Errors
/// No node sends a backup, or the disk returns an error.
pub(super) async fn download(client: &Client, mut file: &File, path: &Path) -> Result<(), Failure> {
    let no_backup = |error: RequestError| refused(&error, format!("no backup: {error}"));
    let mut download = client.backup().await.map_err(no_backup)?;
    let progress = progress(&download);
    while let Some(piece) = download.next().await.map_err(no_backup)? {
        file.write_all(&piece)
            .map_err(|error| unwritten(path, &error))?;
        progress.inc(piece.len() as u64);
    }
    progress.finish_and_clear();
    file.sync_all().map_err(|error| unwritten(path, &error))
}

/// On a terminal only.
fn progress(download: &BackupDownload) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    );
    let bar = ProgressBar::new(download.length());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Reads a backup and checks every byte.
///
/// # Errors
/// It is not a complete backup, or can't be read.
pub(super) fn check(path: &Path) -> Result<Manifest, Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let checked = BackupReader::open(BufReader::with_capacity(1 << 20, file));
    let checked = checked.and_then(|(manifest, reader)| reader.check().map(|()| manifest));
    checked.map_err(|error| {
        Failure::failed(format!(
            "what arrived is no backup: {error}; nothing was written"
        ))
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot read {}: {error}; check the path and its permissions",
        path.display()
    ))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot write {}: {error}; check the space on the disk, nothing was kept",
        path.display()
    ))
}

/// The file while it is written, next to the final one. Removed when dropped.
struct Unfinished {
    path: PathBuf,
    file: File,
}

impl Unfinished {
    fn create(file: &Path) -> Result<Self, Failure> {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = file.with_file_name(name);
        let created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match created {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(Failure::failed(format!(
                "cannot create {}: {error}; check that the directory exists and that this user may write there",
                path.display()
            ))),
        }
    }

    /// Gives the file its name, durably.
    fn publish(&self, to: &Path) -> Result<(), Failure> {
        let publish = || {
            fs::rename(&self.path, to)?;
            let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        };
        publish().map_err(|error| unwritten(&self.path, &error))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}
