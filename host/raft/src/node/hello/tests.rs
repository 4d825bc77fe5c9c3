use super::*;

fn hello() -> Hello {
    Hello {
        cluster_id: "prod".into(),
        node_id: "node1".into(),
        peer_id: "node2".into(),
        client_addr: "10.0.0.1:8101".into(),
        extension: None,
    }
}

/// A hello of version 2.
fn extended() -> Hello {
    let identity = NodeIdentity {
        store_id: StoreId(0x1122_3344_5566_7788),
        runs: RunHistory {
            number: 9,
            recent: vec![7, 6],
        },
        history: History {
            lineage: Lineage(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            has_log: true,
        },
        cluster_level: 1,
        known_level: 2,
    };
    Hello {
        extension: Some(HelloExtension {
            identity,
            peer_addr: "h:7101".into(),
        }),
        ..hello()
    }
}

fn refusal() -> HelloRefusal {
    HelloRefusal::new(
        HelloRefusalReason::UnknownNode,
        "node node1 is not among the peers of node node2",
    )
}

fn handshakes() -> [Handshake; 4] {
    let silent = Hello {
        client_addr: String::new(),
        ..hello()
    };
    [
        Handshake::Hello(hello()),
        Handshake::Hello(silent),
        Handshake::Hello(extended()),
        Handshake::Refusal(refusal()),
    ]
}

fn body(handshake: &Handshake) -> Vec<u8> {
    let frame = handshake.encode();
    let (prefix, body) = frame.split_first_chunk().unwrap();
    assert_eq!(Handshake::decode_length(*prefix), Ok(body.len()));
    body.to_vec()
}

/// Replaces the checksum with that of the changed content.
fn reseal(body: &mut [u8]) {
    let (content, checksum) = body.split_last_chunk_mut::<4>().unwrap();
    *checksum = crc32c::crc32c(content).to_be_bytes();
}

#[test]
fn each_handshake_frame_decodes_to_what_was_encoded() {
    for handshake in handshakes() {
        assert_eq!(Handshake::decode(&body(&handshake)), Ok(handshake));
    }
}

#[test]
fn a_hello_has_the_documented_bytes() {
    let hello = Hello {
        cluster_id: "c".into(),
        node_id: "n".into(),
        peer_id: "m".into(),
        client_addr: String::new(),
        extension: None,
    };
    let mut expected = b"\0\0\0\x16OARL\0\x01\0\0\x01c\0\x01n\0\x01m\0\0".to_vec();
    expected.extend_from_slice(&crc32c::crc32c(&expected[4..]).to_be_bytes());
    assert_eq!(Handshake::Hello(hello).encode(), expected);
}

#[test]
fn a_hello_of_version_2_has_the_documented_bytes() {
    let short = Hello {
        cluster_id: "c".into(),
        node_id: "n".into(),
        peer_id: "m".into(),
        client_addr: String::new(),
        ..extended()
    };
    let mut expected = b"\0\0\0\x58OARL\0\x02\0\0\x01c\0\x01n\0\x01m\0\0".to_vec();
    expected
        .extend_from_slice(b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x01");
    expected.extend_from_slice(b"\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\0\0\0\0\x09\x02");
    expected
        .extend_from_slice(b"\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x06\0\0\0\x01\0\0\0\x02\0\x06h:7101");
    expected.extend_from_slice(&crc32c::crc32c(&expected[4..]).to_be_bytes());
    assert_eq!(Handshake::Hello(short).encode(), expected);
}

#[test]
fn levels_and_lineages_that_do_not_fit_are_refused() {
    let own_id = NodeId::from("node2");
    let level_0 = NodeIdentity {
        known_level: 1,
        ..NodeIdentity::default()
    };
    let level_1 = NodeIdentity {
        cluster_level: 1,
        ..level_0.clone()
    };
    let reason = |hello: &Hello, own: &NodeIdentity| {
        let checked = hello.check_identity(&own_id, own);
        checked.map_err(|refusal| (refusal.reason, refusal.detail))
    };
    assert_eq!(reason(&hello(), &level_0), Ok(()));
    let (code, detail) = reason(&hello(), &level_1).unwrap_err();
    assert_eq!(code, HelloRefusalReason::Version);
    assert!(detail.contains("level 1"), "{detail}");

    let mut newer = extended();
    newer.extension.as_mut().unwrap().identity.cluster_level = 2;
    let (code, detail) = reason(&newer, &level_1).unwrap_err();
    assert_eq!(code, HelloRefusalReason::Level);
    assert!(detail.contains("level 2"), "{detail}");
    let mut older = extended();
    older.extension.as_mut().unwrap().identity.known_level = 0;
    let (code, _) = reason(&older, &level_1).unwrap_err();
    assert_eq!(code, HelloRefusalReason::Level);

    let mut other = level_1.clone();
    other.history = History {
        lineage: Lineage(0xabc),
        has_log: true,
    };
    let (code, detail) = reason(&extended(), &other).unwrap_err();
    assert_eq!(code, HelloRefusalReason::OtherLineage);
    let theirs = "00112233445566778899aabbccddeeff";
    assert!(
        detail.contains(theirs) && detail.contains("00000abc"),
        "{detail}"
    );
    other.history.has_log = false;
    assert_eq!(reason(&extended(), &other), Ok(()));
}

#[test]
fn every_refusal_reason_keeps_its_code() {
    for code in 0..=255 {
        assert_eq!(HelloRefusalReason::from_code(code).code(), code);
    }
    assert_eq!(
        HelloRefusalReason::from_code(4),
        HelloRefusalReason::UnknownNode
    );
    assert_eq!(
        HelloRefusalReason::from_code(200),
        HelloRefusalReason::Other(200)
    );
}

#[test]
fn every_truncation_and_every_flipped_bit_is_an_error() {
    for handshake in handshakes() {
        let mut body = body(&handshake);
        for cut in 0..body.len() {
            assert!(
                Handshake::decode(&body[..cut]).is_err(),
                "{handshake:?} cut to {cut}"
            );
        }
        for bit in 0..body.len() * 8 {
            body[bit / 8] ^= 1 << (bit % 8);
            assert!(Handshake::decode(&body).is_err(), "{handshake:?} bit {bit}");
            body[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_truncation_with_a_valid_checksum_is_an_error() {
    for handshake in handshakes() {
        let complete = body(&handshake);
        for cut in MIN_HANDSHAKE_BYTES..complete.len() {
            let mut shorter = complete[..cut].to_vec();
            reseal(&mut shorter);
            assert!(
                Handshake::decode(&shorter).is_err(),
                "{handshake:?} cut to {cut}"
            );
        }
        let mut longer = [&complete[..], &[0]].concat();
        reseal(&mut longer);
        assert_eq!(
            Handshake::decode(&longer),
            Err(HelloError::Field { field: "end" })
        );
    }
}

#[test]
fn other_protocols_are_recognized() {
    let http = *b"GET ";
    assert!(matches!(
        Handshake::decode_length(http),
        Err(HelloError::Length { .. })
    ));
    assert!(matches!(
        Handshake::decode_length([0, 0, 0, 3]),
        Err(HelloError::Length { length: 3 })
    ));
    let mut other = body(&Handshake::Hello(hello()));
    other[..4].copy_from_slice(b"ETCD");
    assert_eq!(
        Handshake::decode(&other),
        Err(HelloError::Magic { found: *b"ETCD" })
    );
}

#[test]
fn a_hello_of_another_version_is_not_reported_as_corrupt() {
    let mut later = body(&Handshake::Hello(hello()));
    later[5] = 3; // The rest may differ in that version, so its checksum is not checked.
    let error = Handshake::decode(&later).unwrap_err();
    assert_eq!(error, HelloError::Version { theirs: 3 });
    assert_eq!(
        HelloRefusal::from(&error).reason,
        HelloRefusalReason::Version
    );
}

#[test]
fn a_refusal_of_another_version_is_decoded() {
    let mut later = body(&Handshake::Refusal(refusal()));
    later[5] = 2;
    reseal(&mut later);
    assert_eq!(Handshake::decode(&later), Ok(Handshake::Refusal(refusal())));
}

#[test]
fn a_text_that_could_forge_a_log_line_is_refused() {
    let forged = Handshake::Refusal(HelloRefusal::new(
        HelloRefusalReason::Oneself,
        "fine\nERROR all is lost",
    ));
    assert_eq!(
        Handshake::decode(&body(&forged)),
        Err(HelloError::Field { field: "detail" })
    );
    let forged = Handshake::Hello(Hello {
        node_id: "a b".into(),
        ..hello()
    });
    assert_eq!(
        Handshake::decode(&body(&forged)),
        Err(HelloError::Field { field: "node id" })
    );
}

#[test]
fn a_text_over_its_limit_is_cut_at_a_character_boundary() {
    let long = Handshake::Refusal(HelloRefusal::new(
        HelloRefusalReason::Oneself,
        "é".repeat(MAX_HANDSHAKE_BYTES),
    ));
    let Ok(Handshake::Refusal(read)) = Handshake::decode(&body(&long)) else {
        panic!("not a refusal")
    };
    assert_eq!(read.detail, "é".repeat(MAX_DETAIL_BYTES / 2));
}

#[test]
fn the_longest_hello_is_within_the_limit() {
    let longest = Handshake::Hello(Hello {
        cluster_id: "c".repeat(MAX_CLUSTER_ID_BYTES),
        node_id: "n".repeat(255).into(),
        peer_id: "m".repeat(255).into(),
        client_addr: "a".repeat(MAX_CLIENT_ADDR_BYTES),
        extension: Some(HelloExtension {
            identity: NodeIdentity {
                runs: RunHistory {
                    number: u64::MAX,
                    recent: vec![u64::MAX; MAX_RUNS],
                },
                ..NodeIdentity::default()
            },
            peer_addr: "p".repeat(MAX_PEER_ADDR_BYTES),
        }),
    });
    assert_eq!(Handshake::decode(&body(&longest)), Ok(longest));
}

#[test]
fn a_hello_is_refused_with_the_right_reason() {
    let own = NodeId::from("node2");
    let reason = |hello: Hello, known| {
        hello
            .check("prod", &own, |_| known)
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(reason(hello(), true), Ok(()));
    let other = Hello {
        cluster_id: "test".into(),
        ..hello()
    };
    let text = other.check("prod", &own, |_| true).unwrap_err().to_string();
    for part in ["\"test\"", "\"prod\"", "--cluster-id"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(reason(other, true), Err(HelloRefusalReason::OtherCluster));
    let oneself = Hello {
        node_id: own.clone(),
        ..hello()
    };
    assert_eq!(reason(oneself, true), Err(HelloRefusalReason::Oneself));
    let lost = Hello {
        peer_id: "node3".into(),
        ..hello()
    };
    assert_eq!(reason(lost, true), Err(HelloRefusalReason::WrongNode));
    assert_eq!(reason(hello(), false), Err(HelloRefusalReason::UnknownNode));
}
