//! `oarlock token`: tokens of clients.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use time::OffsetDateTime;

use super::output::{print_safely, write_json, write_out};
use crate::access::{ScopeFlag, TokenClaims, TokenSigner};
use crate::cli::{AuthorityArgs, TokenArgs, TokenCommand};
use crate::exit::Failure;
use crate::tls::{files, issue};

/// A new token, for `--json`.
#[derive(Serialize)]
struct CreatedToken<'t> {
    token: &'t str,
    #[serde(flatten)]
    claims: &'t TokenClaims,
}

/// Creates, shows or revokes a token.
///
/// # Errors
/// A file can't be read or written, or a name is not valid.
pub(crate) fn token(args: TokenArgs) -> Result<(), Failure> {
    let TokenArgs {
        command,
        authority: AuthorityArgs { ca_dir },
        output,
    } = args;
    let json = output.json;
    match command {
        TokenCommand::Create {
            client,
            queues,
            scopes,
            ttl,
            out,
        } => {
            let authority = files::authorities(&ca_dir).map_err(Failure::failed)?;
            let path = ca_dir.join(files::AUTHORITIES);
            let authority = files::info(&path, &authority).map_err(Failure::failed)?;
            let signer = files::token_key(&ca_dir).map_err(Failure::failed)?;
            let now = OffsetDateTime::now_utc().unix_timestamp();
            let claims = TokenClaims {
                cluster: authority.identity.cluster,
                id: TokenSigner::new_id().map_err(Failure::failed)?,
                name: client.name.to_string(),
                roles: client.roles.to_string(),
                scopes: ScopeFlag::joined(scopes.into_iter().chain(ScopeFlag::queues(queues))),
                expires: now.saturating_add_unsigned(ttl.as_secs()),
            };
            let token = signer
                .issue(&claims, client.roles)
                .map_err(Failure::usage)?;
            if let Some(out) = out {
                return issue::write_token(&out, &token).map_err(Failure::failed);
            }
            if json {
                let created = CreatedToken {
                    token: &token,
                    claims: &claims,
                };
                return write_json(std::io::stdout().lock(), &created);
            }
            write_out(std::io::stdout().lock(), format!("{token}\n").as_bytes())
        }
        TokenCommand::Key { drop_old, .. } => {
            let changed = if drop_old {
                issue::drop_old_token_keys(&ca_dir)
            } else {
                issue::rotate_token_key(&ca_dir)
            };
            changed.map_err(Failure::failed)
        }
        TokenCommand::Show { path } => {
            let claims = claims_in(&path)?;
            if json {
                return write_json(std::io::stdout().lock(), &claims);
            }
            let mut text = Vec::new();
            let scopes = claims.scopes.iter().map(|(name, values)| {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                ("scope", format!("{name}={}", values.join(",")))
            });
            let scopes: Vec<_> = scopes.collect();
            let shown = [
                ("cluster", claims.cluster),
                ("name", claims.name),
                ("roles", claims.roles),
                ("expires", super::cert::date(claims.expires)),
                ("id", claims.id),
            ];
            for (label, value) in shown.into_iter().chain(scopes) {
                // Writing to a vector never fails.
                let _ = writeln!(text, "{label:<8} {}", print_safely(&value));
            }
            write_out(std::io::stdout().lock(), &text)
        }
        TokenCommand::Revoke { path, at } => {
            let claims = claims_in(&path)?;
            for node in at.nodes {
                let note = format!("token of {}", print_safely(&claims.name));
                issue::revoke_id(&node, &claims.id, &note).map_err(Failure::failed)?;
            }
            Ok(())
        }
    }
}

fn claims_in(path: &Path) -> Result<TokenClaims, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::failed(format!(
            "cannot read {}: {error}; pass the file of a token",
            path.display()
        ))
    })?;
    TokenClaims::unchecked(text.trim()).map_err(|error| {
        Failure::failed(format!(
            "{} is not a token: {error}; create one with `oarlock token create`",
            path.display()
        ))
    })
}
