//! The sentence model in this process. Tests that need the weights run if `ENACT_TEST_MODEL_DIR` is set (`cargo xtask model` fetches them).

#![cfg(feature = "minilm")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};

use enact_embed::{Embedder, EmbedderKind, Settings};

fn at(folder: &Path) -> Embedder {
    Embedder::new(&Settings {
        kind: EmbedderKind::Minilm,
        embed_model_dir: folder.to_owned(),
        embed_url: None,
        embed_model: None,
        embed_key_file: None,
    })
}

fn model() -> Option<Embedder> {
    let Some(folder) = std::env::var_os("ENACT_TEST_MODEL_DIR") else {
        eprintln!("skipped: ENACT_TEST_MODEL_DIR is not set");
        return None;
    };
    let embedder = at(&PathBuf::from(folder));
    assert!(embedder.model().is_some(), "{}", embedder.describe());
    Some(embedder)
}

async fn vectors(model: &Embedder, texts: &[&str]) -> Vec<Vec<f32>> {
    model.embed(texts.iter().map(|&text| text.to_owned()).collect()).await.unwrap()
}

fn dot(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[tokio::test]
async fn embeddings_match_the_published_model() {
    let Some(model) = model() else { return };
    assert!(model.model().unwrap().ends_with("@53aa51172d14"), "{}", model.describe());
    let found = vectors(&model, &["This is an example sentence", "Each sentence is converted"]).await;
    // The first of the 384 numbers, as a forward pass in double precision by other means gives them.
    let expected = [
        [0.067_656_9, 0.063_495_9, 0.048_713_1, 0.079_305, 0.037_448_1, 0.002_652_8, 0.039_375, -0.007_098_5],
        [0.086_438_6, 0.102_762_6, 0.005_394_5, 0.002_044_4, -0.009_963_4, 0.025_385_5, 0.049_287_6, -0.030_626_6],
    ];
    for (vector, expected) in found.iter().zip(expected) {
        assert_eq!(vector.len(), 384);
        for (value, expected) in vector.iter().zip(expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-5, "{value} is not {expected}");
        }
    }
}

#[tokio::test]
async fn similar_texts_are_nearer() {
    let Some(model) = model() else { return };
    let found = vectors(
        &model,
        &[
            "Customers can pay with a credit card",
            "The buyer settles the invoice by Visa or Mastercard",
            "Backups are taken every night",
        ],
    )
    .await;
    assert!(dot(&found[0], &found[1]) > dot(&found[0], &found[2]) + 0.2);
    assert!(found.iter().all(|vector| (dot(vector, vector) - 1.0).abs() < 1e-5));
}

#[tokio::test]
async fn batches_do_not_affect_embeddings() {
    let Some(model) = model() else { return };
    let long = "A requirement of many words. ".repeat(40);
    let mut texts = vec!["short", "", "\0", " \u{200B} ", "購物車", &long];
    texts.extend(["filler"; 30]);
    let together = vectors(&model, &texts).await;
    for (text, vector) in texts.iter().zip(&together) {
        let alone = &vectors(&model, &[text]).await[0];
        assert!(dot(alone, vector) > 0.9999, "{text:?}");
    }
    // A text beyond the limit of the model is truncated and takes no longer.
    let huge = "word ".repeat(1 << 20);
    assert_eq!(vectors(&model, &[&huge]).await[0].len(), 384);
}

#[tokio::test]
async fn a_broken_model_leaves_search_by_words() {
    let folder = tempfile::tempdir().unwrap();
    let assert_fails = |why: &str| {
        let embedder = at(folder.path());
        assert_eq!(embedder.model(), None);
        let description = embedder.describe();
        assert!(description.starts_with("search uses words only: ") && description.contains(why), "{description}");
    };
    let put = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
    assert_fails("config.json: No such file");
    put("config.json", "{}");
    assert_fails("config.json: missing field");
    let config = r#"{"model_type": "bert", "hidden_act": "gelu", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 3, "intermediate_size": 8, "max_position_embeddings": 16, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12}"#;
    put("config.json", config);
    assert_fails("must be a multiple of num_attention_heads");
    put("config.json", &config.replace("\"bert\"", "\"gpt\""));
    assert_fails("must be \"bert\"");
    put("config.json", &config.replace("\"vocab_size\": 9", "\"vocab_size\": 999999999"));
    assert_fails("vocab_size is 999999999");
    put("config.json", &config.replace(": 3", ": 2"));
    assert_fails("tokenizer.json: No such file");
    put("tokenizer.json", "[]");
    assert_fails("tokenizer.json: ");
    put(
        "tokenizer.json",
        r###"{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
            "decoder": null, "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0}}}"###,
    );
    assert_fails("model.safetensors: No such file");
    put("model.safetensors", "\u{1}\0\0\0\0\0\0\0 not a list of tensors");
    assert_fails("model.safetensors: ");
    let embedder = at(Path::new("/nowhere/model"));
    assert!(embedder.describe().contains("the folder /nowhere/model does not exist"), "{}", embedder.describe());
}
