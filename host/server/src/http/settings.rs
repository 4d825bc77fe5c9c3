//! `/v1/settings`: the replicated settings of the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use oarlock_wasm::{
    CommandOutcome, Envelope, GuestModule, ReplicatedSettings, SettingsChange, SettingsOutcome,
    SettingsRefusal,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use task_queue_raft::ids::Index;

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::operations::{self, Operation};
use super::{members, request};

/// Longest `by`, in bytes.
const MAX_BY_BYTES: usize = 128;

/// The response to `GET /v1/settings`, and to a change.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SettingsResponse {
    /// Level of the cluster. At level 0 each node uses its own flags.
    level: u32,
    /// The highest level that this node supports.
    highest_level: u32,
    /// Version of the rules by which guests are executed; null at level 0.
    semantics: Option<u32>,
    /// Id of the table of fuel costs; null at level 0.
    cost_table: Option<u32>,
    /// Values by name; null at level 0.
    settings: Option<BTreeMap<&'static str, u64>>,
    /// Flags and defaults of this node with another value, which does not apply.
    differing: Vec<DifferingValue>,
    /// The entry of the change; absent in the response to `GET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
}

/// A setting for which this node has another value than the cluster.
#[derive(Debug, Serialize, JsonSchema)]
struct DifferingValue {
    /// Name of the setting.
    name: &'static str,
    /// The flag of `oarlock serve` that proposes it; null if there is none.
    flag: Option<&'static str>,
    /// The value of this node's flag or default.
    own: u64,
    /// The value that applies.
    cluster: u64,
}

/// The body of `POST /v1/settings`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeSettings {
    /// New values by name.
    set: BTreeMap<String, u64>,
    /// Who requests the change, for the logs of the nodes: up to 128 bytes, by default `http`.
    #[serde(default)]
    by: Option<String>,
}

pub(super) async fn show(State(app): State<Arc<App>>) -> Json<SettingsResponse> {
    Json(response(&app, None))
}

pub(super) async fn change(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<SettingsResponse>, ApiError> {
    const SHAPE: &str =
        r#"send {"set":{"fuel_per_command":2000000000}}; GET /v1/settings lists the names"#;
    let (parts, body) = request.into_parts();
    let timeout = request::timeout(&parts.headers)?;
    let ChangeSettings { set, by } = members::read(&app, &parts.headers, body, SHAPE).await?;
    let by = request::operator(&parts.extensions, by);
    if set.is_empty() || by.len() > MAX_BY_BYTES || by.chars().any(char::is_control) {
        return Err(ApiError::malformed(
            format!(
                "`set` is empty, or `by` has more than {MAX_BY_BYTES} bytes or a control character"
            ),
            SHAPE,
        ));
    }
    // A node that has not applied the settings yet lets the others decide.
    if let Some(settings) = app.machine.settings() {
        settings
            .check_change(&set)
            .map_err(|refusal| refused(&refusal))?;
    } else if app.raft.status().cluster_level == 0 {
        return Err(refused(&SettingsRefusal::NoSettings));
    }
    let details = set.iter().map(|(name, value)| format!("{name}={value}"));
    let details = details.collect::<Vec<_>>().join(" ");
    let operation = Operation::new(&parts.extensions, "changeSettings", details);
    let change = SettingsChange {
        release: ReplicatedSettings::release().to_owned(),
        by,
        values: set,
    };
    let index = operations::recorded(&app, operation, commit(&app, &change, timeout)).await?;
    Ok(Json(response(&app, Some(index.0))))
}

/// Changes the settings, and returns the entry that did.
async fn commit(app: &App, change: &SettingsChange, timeout: Duration) -> Result<Index, ApiError> {
    let applied = app.raft.submit(Envelope::settings(change), timeout).await;
    let applied = applied.map_err(|error| ApiError::of_command(&error))?;
    match applied.reply {
        CommandOutcome::Settings(SettingsOutcome::Changed) => Ok(applied.index),
        CommandOutcome::Settings(SettingsOutcome::Refused(refusal)) => Err(refused(&refusal)),
        other => Err(ApiError::internal(format!(
            "unexpected outcome of a change of the settings: {other:?}"
        ))),
    }
}

/// Raises the level of the cluster to the highest that this release supports, once every member supports it.
pub(super) async fn raise_level(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<SettingsResponse>, ApiError> {
    let timeout = request::timeout(request.headers())?;
    // Held until this node has applied the entry, so that it does not compile the guest again then.
    let _guest = guest_after_raise(&app).await?;
    let operation = Operation::new(request.extensions(), "raiseLevel", "");
    let raising = async {
        let raised = app.raft.raise_level(timeout).await;
        raised.map_err(|error| members::of_order(&error))
    };
    let index = operations::recorded(&app, operation, raising).await?;
    // This node may apply the entry later than the leader commits it: it compiles the guest for the new rules.
    let applied = app.upgrades.find(|_| app.machine.settings().map(drop));
    let seen = tokio::time::timeout(timeout, applied).await;
    drop(seen);
    Ok(Json(response(&app, Some(index.0))))
}

/// The guest under the rules of the raise. Refuses a raise after which it would not run: all nodes would keep the rules
/// before.
async fn guest_after_raise(app: &App) -> Result<GuestModule, ApiError> {
    let limits = match app.machine.settings() {
        Some(_) => app.machine.limits(),
        None => ReplicatedSettings::proposed(&app.limits).limits_on(&app.limits),
    };
    let module = app.machine.module();
    let loading = tokio::task::spawn_blocking(move || module.under(&limits));
    let loaded = loading
        .await
        .map_err(|error| ApiError::internal(format!("the check of the guest panicked: {error}")))?;
    loaded.map_err(|error| {
        ApiError::new(
            ErrorCode::ModuleRefused,
            format!("the guest does not run by the rules of the next level: {error}"),
            "upgrade the guest to a module that does, then raise the level; nothing was changed",
        )
    })
}

fn response(app: &App, index: Option<u64>) -> SettingsResponse {
    let settings = app.machine.settings();
    let differing = settings
        .as_ref()
        .map_or_else(Vec::new, |settings| settings.differences(&app.limits));
    SettingsResponse {
        level: app.raft.status().cluster_level,
        highest_level: task_queue_raft::CLUSTER_LEVEL,
        semantics: settings
            .as_ref()
            .map(|settings| settings.semantics().version()),
        cost_table: settings.as_ref().map(ReplicatedSettings::cost_table),
        settings: settings.as_ref().map(ReplicatedSettings::values),
        differing: differing
            .into_iter()
            .map(|differing| DifferingValue {
                name: differing.name,
                flag: differing.flag,
                own: differing.own,
                cluster: differing.cluster,
            })
            .collect(),
        index,
    }
}

fn refused(refusal: &SettingsRefusal) -> ApiError {
    let message = refusal.to_string();
    match refusal {
        SettingsRefusal::NoSettings => ApiError::new(
            ErrorCode::LevelTooLow,
            message,
            "run this release on every node, then send POST /v1/settings/raise-level",
        ),
        SettingsRefusal::RaiseOnly { .. } | SettingsRefusal::Derived { .. } => ApiError::new(
            ErrorCode::SettingRefused,
            message,
            "GET /v1/settings shows the present values",
        ),
        SettingsRefusal::Unknown { .. }
        | SettingsRefusal::OutOfRange { .. }
        | SettingsRefusal::Invalid { .. } => {
            ApiError::malformed(message, "GET /v1/settings lists names and values")
        }
    }
}
