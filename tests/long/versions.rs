//! The release before this one and this one in one cluster, rolled forward and back while clients write: no request
//! fails. The first test builds the release before, see `oarlock_tests::process::release_before`.

#[path = "../../host/wasm/src/testing/core.rs"]
#[allow(dead_code, reason = "it has more for the tests of the host")]
mod core;

#[path = "versions"]
mod parts {
    pub(crate) mod load;
    mod roll;
    mod stop;
}
