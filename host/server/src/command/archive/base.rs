//! The backup with which a chain of entries begins.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use oarlock_client::Client;

use crate::archive::ArchiveWriter;
use crate::command::backup::{check, download};
use crate::exit::Failure;

/// Takes a backup and adds it.
pub(super) async fn take(writer: &mut ArchiveWriter, client: &Client) -> Result<(), Failure> {
    let path = writer.unfinished_base();
    let file = File::create(&path).map_err(|error| unwritten(&path, &error))?;
    download(client, &file, &path).await?;
    add(writer, &path)
}

/// Copies a backup and adds it.
pub(super) fn copy(writer: &mut ArchiveWriter, from: &Path) -> Result<(), Failure> {
    let path = writer.unfinished_base();
    let copied = || -> io::Result<()> {
        let mut from = File::open(from)?;
        let mut to = File::create(&path)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()
    };
    copied().map_err(|error| {
        Failure::failed(format!(
            "cannot copy {} into the archive: {error}; check the path, and the space on the disk",
            from.display()
        ))
    })?;
    add(writer, &path)
}

fn add(writer: &mut ArchiveWriter, path: &Path) -> Result<(), Failure> {
    let added =
        check(path).and_then(|manifest| writer.add_base(&manifest).map_err(Failure::failed));
    added.inspect_err(|_| {
        // The cause matters more, and the next start removes it.
        let _ = fs::remove_file(path);
    })
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot write {}: {error}; check the space on the disk and the permissions",
        path.display()
    ))
}
