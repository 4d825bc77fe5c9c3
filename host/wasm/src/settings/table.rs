//! The settings by name: range, flag, and whether a value can be lowered.

use crate::guest::limits::MachineLimits;
use crate::records::settings_outcome::SettingsRefusal;

/// One replicated setting.
pub(crate) struct Setting {
    /// Name in the log, in the API and on the command line.
    pub(crate) name: &'static str,
    /// The flag of `oarlock serve` that proposes it, without dashes.
    pub(crate) flag: Option<&'static str>,
    least: u64,
    most: u64,
    rule: ChangeRule,
    pub(crate) get: fn(&MachineLimits) -> u64,
    pub(crate) set: fn(&mut MachineLimits, u64),
}

/// Which changes are allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChangeRule {
    /// Any value in the range.
    Any,
    /// Only higher values: under a lower one the present state could not be written, read or started any more.
    RaiseOnly,
    /// The host sets it.
    Derived,
}

impl Setting {
    /// Whether the host sets it, so that no node proposes it.
    pub(super) fn is_derived(&self) -> bool {
        self.rule == ChangeRule::Derived
    }

    /// Checks a new value.
    pub(super) fn check(&self, value: u64, now: u64) -> Result<(), SettingsRefusal> {
        let name = self.name;
        if self.rule == ChangeRule::Derived {
            return Err(SettingsRefusal::Derived { name });
        }
        if value < self.least || value > self.most {
            return Err(SettingsRefusal::OutOfRange {
                name,
                value,
                least: self.least,
                most: self.most,
            });
        }
        if self.rule == ChangeRule::RaiseOnly && value < now {
            return Err(SettingsRefusal::RaiseOnly { name, value, now });
        }
        Ok(())
    }
}

/// The setting with this name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// A setting without a flag whose field has its name.
macro_rules! setting {
    ($name:ident, $flag:expr, $range:expr, $rule:ident) => {
        Setting {
            name: stringify!($name),
            flag: $flag,
            least: *$range.start(),
            most: *$range.end(),
            rule: ChangeRule::$rule,
            get: |limits| u64::from(limits.$name),
            set: |limits, value| limits.$name = value.try_into().unwrap_or(!0),
        }
    };
}

const MOST_ELEMENTS: u64 = u32::MAX as u64 / 4;

/// All settings, in the order of names. The ranges of those with a flag are the flag's.
pub(crate) static SETTINGS: [Setting; 20] = [
    setting!(batch_bytes, None, (1 << 20)..=MOST_ELEMENTS, Any),
    setting!(batch_share, None, 1..=1_000_000, Any),
    setting!(
        command_bytes,
        Some("max-command-bytes"),
        1..=(32 << 20),
        Any
    ),
    setting!(deferred, None, 0..=100_000_000, Any),
    setting!(entry_bytes, None, (1 << 20)..=MOST_ELEMENTS, Any),
    setting!(event_bytes, None, 0..=MOST_ELEMENTS, Any),
    setting!(events, None, 0..=1_000_000, Any),
    setting!(
        fuel_per_command,
        Some("fuel-per-command"),
        1..=u64::MAX,
        Any
    ),
    setting!(fuel_per_snapshot, None, 1..=u64::MAX, RaiseOnly),
    setting!(key_bytes, None, 0..=(1 << 40), Any),
    setting!(
        key_ttl_ms,
        Some("idempotency-ttl-ms"),
        0..=31_536_000_000,
        Any
    ),
    setting!(keys, Some("max-idempotency-keys"), 0..=100_000_000, Any),
    setting!(
        memory_bytes,
        Some("guest-memory-bytes"),
        65_536..=(1 << 32),
        Any
    ),
    setting!(module_bytes, None, 1..=MOST_ELEMENTS, RaiseOnly),
    setting!(reply_bytes, None, 1..=MOST_ELEMENTS, Any),
    setting!(restore_memory_bytes, None, 0..=(1 << 32), Derived),
    setting!(snapshot_bytes, None, 1..=u64::MAX, RaiseOnly),
    setting!(stack_bytes, None, 65_536..=(32 << 20), Any),
    setting!(table_elements, None, 1..=MOST_ELEMENTS, RaiseOnly),
    setting!(transfer_bytes, None, (1 << 20)..=MOST_ELEMENTS, RaiseOnly),
];
