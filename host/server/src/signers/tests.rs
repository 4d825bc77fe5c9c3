use super::*;

fn key() -> ModuleKey {
    let key = ModuleKey::generate().expect("random numbers");
    ModuleKey::from_pkcs8(&key).expect("a key")
}

/// Signers with these keys.
fn signers(keys: &[&ModuleKey]) -> ModuleSigners {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("signers");
    let lines: Vec<String> = keys.iter().map(|key| key.public()).collect();
    let text = format!("# who may sign\n\n{}  # a comment\n", lines.join("\n"));
    fs::write(&path, text).expect("writable");
    ModuleSigners::read(&path).expect("valid")
}

fn module() -> Sha256 {
    Sha256::of(b"a module")
}

#[test]
fn a_module_is_accepted_with_the_signature_of_one_of_the_keys() {
    let (one, other) = (key(), key());
    let signers = signers(&[&one, &other]);
    for key in [&one, &other] {
        assert_eq!(signers.check(module(), Some(&key.sign(module()))), Ok(()));
    }
}

#[test]
fn an_unsigned_module_and_the_signature_of_another_key_or_module_are_refused() {
    let (own, foreign) = (key(), key());
    let signers = signers(&[&own]);
    let check = |signature: Option<&str>| signers.check(module(), signature);
    assert!(matches!(check(None), Err(UnsignedModule::Missing { .. })));
    let refused = check(Some(&foreign.sign(module())));
    assert!(matches!(refused, Err(UnsignedModule::Signature { .. })));
    let other = Sha256::of(b"another module");
    let refused = check(Some(&own.sign(other)));
    assert_eq!(refused, Err(UnsignedModule::OtherModule(other.to_string())));
    for malformed in ["", ".", "a.b.c", "oarlock-module1", "oarlock-module2.a.b"] {
        assert!(check(Some(malformed)).is_err(), "{malformed}");
    }
}

#[test]
fn a_signature_with_any_flipped_bit_is_refused() {
    let own = key();
    let signers = signers(&[&own]);
    let signature = own.sign(module());
    for at in 0..signature.len() {
        for bit in 0..7 {
            let mut bytes = signature.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let checked = signers.check(module(), Some(&changed));
            assert!(checked.is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_file_of_keys_that_is_not_valid_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("signers");
    let error = |text: &str| {
        fs::write(&path, text).expect("writable");
        let error = ModuleSigners::read(&path).expect_err("refused");
        error.to_string()
    };
    assert!(error("# nothing\n").contains("0 keys"));
    assert!(error("no key\n").contains("is not a public key"));
    let many = format!("{}\n", key().public()).repeat(MAX_KEYS + 1);
    assert!(error(&many).contains("65 keys"));
    assert!(error(&"a".repeat(MAX_FILE_BYTES as usize + 1)).contains("more than"));
    let missing = ModuleSigners::read(&dir.path().join("none")).expect_err("refused");
    assert!(
        missing.to_string().contains("--module-signers"),
        "{missing}"
    );
}

#[test]
fn the_signature_of_a_file_is_next_to_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = signature_path(&dir.path().join("queue.wasm"));
    assert!(path.ends_with("queue.wasm.sig"));
    assert_eq!(read_signature(&path).expect("no file"), None);
    fs::write(&path, "text\n").expect("writable");
    assert_eq!(
        read_signature(&path).expect("a file").as_deref(),
        Some("text")
    );
}
