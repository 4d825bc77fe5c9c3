//! `oarlock cert`: the certificates of a cluster, its nodes and its clients.

use std::path::{Path, PathBuf};

use serde::Serialize;
use task_queue_raft::address::is_valid_id;
use time::OffsetDateTime;
use time::macros::format_description;

use super::output::{print_coloured, print_safely, write_json};
use super::table::{Align, Table, Tone};
use crate::access::ClientName;
use crate::cli::{AuthorityArgs, CertArgs, CertCommand, NewClientArgs};
use crate::exit::Failure;
use crate::tls::certificate::CertificateInfo;
use crate::tls::files;
use crate::tls::identity::CertOwner;
use crate::tls::issue::{self, Authority, CertificateRequest};

/// A certificate that is valid for fewer days needs attention.
const SOON_DAYS: i64 = 30;
const DAY_SECONDS: i64 = 86_400;

/// Creates, shows, renews or revokes certificates.
///
/// # Errors
/// A name is not valid, or a file can't be read or written.
pub(crate) fn cert(args: CertArgs) -> Result<(), Failure> {
    let CertArgs {
        command,
        authority: AuthorityArgs { ca_dir },
        output,
    } = args;
    let changed = match command {
        CertCommand::Ca {
            cluster_id,
            rotate,
            drop_old,
            days,
        } => {
            let made = if drop_old {
                issue::drop_old_authorities(&ca_dir)
            } else {
                let cluster_id = cluster_of(&ca_dir, cluster_id, rotate)?;
                Authority::create(&ca_dir, &cluster_id, days, rotate)
            };
            made.map_err(Failure::failed)?;
            vec![ca_dir]
        }
        CertCommand::Node {
            ids,
            host,
            out,
            validity,
        } => nodes(&ca_dir, ids, &host, out, validity.days)?,
        CertCommand::Client {
            client,
            out,
            validity,
        } => vec![add_client(&ca_dir, client, out, validity.days)?],
        CertCommand::Show { paths } => paths,
        CertCommand::Renew {
            dirs,
            authorities_only,
            validity,
        } => renew(&ca_dir, dirs, authorities_only, validity.days)?,
        CertCommand::Revoke { path, at } => {
            let revoked = first_in(&path)?;
            for node in &at.nodes {
                issue::revoke(node, &revoked).map_err(Failure::failed)?;
            }
            vec![path]
        }
    };
    show(&changed, output.json)
}

/// A rotation keeps the cluster.
fn cluster_of(ca_dir: &Path, wanted: String, rotate: bool) -> Result<String, Failure> {
    if rotate {
        return Ok(first_in(ca_dir)?.identity.cluster);
    }
    if wanted.is_empty() || wanted.len() > 255 || wanted.chars().any(char::is_control) {
        return Err(Failure::usage(
            "--cluster-id is not valid; use 1 to 255 bytes without control characters",
        ));
    }
    Ok(wanted)
}

fn nodes(
    ca_dir: &Path,
    ids: Vec<String>,
    hosts: &[String],
    out: Option<PathBuf>,
    days: u32,
) -> Result<Vec<PathBuf>, Failure> {
    if out.is_some() && ids.len() > 1 {
        return Err(Failure::usage(
            "--out is for the files of one node, and several ids are given; run the command once for each node",
        ));
    }
    if let Some(wrong) = ids.iter().find(|id| !is_valid_id(id) || id.contains('=')) {
        return Err(Failure::usage(format!(
            "the node id {wrong:?} is not valid; use 1 to 255 visible ASCII characters other than `@`, `,` and `=`"
        )));
    }
    let authority = Authority::read(ca_dir).map_err(Failure::failed)?;
    let mut dirs = Vec::new();
    for id in ids {
        let dir = directory(ca_dir, &id, out.clone())?;
        let request = CertificateRequest {
            owner: CertOwner::Node(id),
            hosts: hosts.to_vec(),
            days,
        };
        authority
            .issue(&request, &dir, false)
            .map_err(Failure::failed)?;
        dirs.push(dir);
    }
    Ok(dirs)
}

fn add_client(
    ca_dir: &Path,
    client: NewClientArgs,
    out: Option<PathBuf>,
    days: u32,
) -> Result<PathBuf, Failure> {
    let name = client.name.to_string();
    let authority = Authority::read(ca_dir).map_err(Failure::failed)?;
    let dir = directory(ca_dir, &name, out)?;
    let request = CertificateRequest {
        owner: CertOwner::Client(name, client.roles),
        hosts: Vec::new(),
        days,
    };
    let issued = authority.issue(&request, &dir, false);
    issued.map_err(Failure::failed)?;
    Ok(dir)
}

fn renew(
    ca_dir: &Path,
    dirs: Vec<PathBuf>,
    authorities_only: bool,
    days: u32,
) -> Result<Vec<PathBuf>, Failure> {
    let authority = Authority::read(ca_dir).map_err(Failure::failed)?;
    for dir in &dirs {
        let present = first_in(dir)?;
        let renewed = if authorities_only {
            authority.write_authorities(dir)
        } else {
            let request = CertificateRequest {
                owner: present.identity.owner,
                hosts: present.hosts,
                days,
            };
            authority.issue(&request, dir, true)
        };
        renewed.map_err(Failure::failed)?;
    }
    Ok(dirs)
}

fn directory(ca_dir: &Path, name: &str, out: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match out {
        Some(out) => Ok(out),
        // The names of clients are all names of directories; the ids of nodes are not.
        None => match name.parse::<ClientName>() {
            Ok(_) => Ok(ca_dir.join(name)),
            Err(_) => Err(Failure::usage(format!(
                "{name:?} can't be the name of a directory; choose one with --out"
            ))),
        },
    }
}

/// The files of certificates in a directory, or the file itself.
fn files_in(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let names = ["node.crt", "client.crt", files::AUTHORITIES];
    let found = names.map(|name| path.join(name)).into_iter();
    found.filter(|file| file.exists()).collect()
}

/// The certificate in a file, or that of the owner of a directory.
fn first_in(path: &Path) -> Result<CertificateInfo, Failure> {
    let Some(file) = files_in(path).into_iter().next() else {
        return Err(Failure::failed(format!(
            "{} contains no certificate; create one with `oarlock cert`",
            path.display()
        )));
    };
    let chain = files::certificates(&file).map_err(Failure::failed)?;
    files::info(&file, &chain).map_err(Failure::failed)
}

/// One certificate, for output.
#[derive(Debug, Serialize)]
struct ShownCertificate {
    file: String,
    identity: String,
    hosts: Vec<String>,
    not_before: String,
    not_after: String,
    valid_days: i64,
    serial: String,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct ShownCertificates {
    certificates: Vec<ShownCertificate>,
}

fn show(paths: &[PathBuf], json: bool) -> Result<(), Failure> {
    let mut certificates = Vec::new();
    for path in paths {
        let found = files_in(path);
        if found.is_empty() {
            let path = path.display();
            return Err(Failure::failed(format!(
                "{path} contains no certificate; create one with `oarlock cert`"
            )));
        }
        for file in found {
            for certificate in files::certificates(&file).map_err(Failure::failed)? {
                let info = CertificateInfo::of(&certificate)
                    .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
                certificates.push(shown(&file, info));
            }
        }
    }
    if json {
        return write_json(
            std::io::stdout().lock(),
            &ShownCertificates { certificates },
        );
    }
    let mut table = Table::new(&[
        ("FILE", Align::Left),
        ("IDENTITY", Align::Left),
        ("HOSTS", Align::Left),
        ("VALID UNTIL", Align::Left),
        ("SERIAL", Align::Left),
    ]);
    for certificate in certificates {
        let tone = match certificate.valid_days {
            ..0 => Tone::Bad,
            0..SOON_DAYS => Tone::Attention,
            _ => Tone::Plain,
        };
        table.row([
            (print_safely(&certificate.file).into_owned(), Tone::Plain),
            (
                print_safely(&certificate.identity).into_owned(),
                Tone::Plain,
            ),
            (
                print_safely(&certificate.hosts.join(",")).into_owned(),
                Tone::Plain,
            ),
            (certificate.not_after, tone),
            (certificate.serial, Tone::Plain),
        ]);
    }
    print_coloured(&table.render())
}

fn shown(file: &Path, info: CertificateInfo) -> ShownCertificate {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    ShownCertificate {
        file: file.display().to_string(),
        identity: info.identity.to_string(),
        hosts: info.hosts,
        not_before: date(info.not_before),
        not_after: date(info.not_after),
        valid_days: (info.not_after - now).div_euclid(DAY_SECONDS),
        serial: info.serial,
        sha256: info.sha256.to_string(),
    }
}

/// A time in seconds since 1970, as in RFC 3339.
pub(super) fn date(seconds: i64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| seconds.to_string())
}
