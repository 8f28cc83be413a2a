package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apiserver/pkg/storage/value"
)

// eachRecord hands on every entry of bucket key: its revision and its record.
func eachRecord(snapshot string, each func(revision []byte, kv *mvccpb.KeyValue) error) error {
	db, done, err := openCopy(snapshot, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer done()
	return db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte("key"))
		if bucket == nil {
			return fmt.Errorf("%s: no bucket key", snapshot)
		}
		return bucket.ForEach(func(revision, record []byte) error {
			var kv mvccpb.KeyValue
			if err := kv.Unmarshal(record); err != nil {
				return err
			}
			return each(revision, &kv)
		})
	})
}

// openRecord opens what K3s keeps under /bootstrap/.
func openRecord(sealed []byte, passphrase string) ([]byte, error) {
	salt, text, found := strings.Cut(string(sealed), ":")
	if !found {
		return nil, fmt.Errorf("no colon")
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(sha1.New, passphrase, []byte(salt), 4096, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(data) < gcm.NonceSize() {
		return nil, fmt.Errorf("too short")
	}
	return gcm.Open(nil, data[:gcm.NonceSize()], data[gcm.NonceSize():], nil)
}

// file is an entry of the record, as K3s declares it.
type file struct {
	Timestamp time.Time
	Content   []byte
}

// records prints every revision of the record of a K3s cluster. The
// passphrase comes on standard input.
func records(snapshot string) error {
	passphrase, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	name := sha256.Sum256(passphrase)
	want := "/bootstrap/" + hex.EncodeToString(name[:])[:12]
	return eachRecord(snapshot, func(revision []byte, kv *mvccpb.KeyValue) error {
		if string(kv.Key) != want || len(revision) != 17 {
			return nil
		}
		plain, err := openRecord(kv.Value, string(passphrase))
		if err != nil {
			return fmt.Errorf("revision %d: %w", kv.ModRevision, err)
		}
		files := map[string]file{}
		if err := json.Unmarshal(plain, &files); err != nil {
			return err
		}
		// What K3s would have written of it.
		var again bytes.Buffer
		if err := json.NewEncoder(&again).Encode(files); err != nil {
			return err
		}
		others := map[string]string{}
		for name, file := range files {
			if name != "EncryptionConfig" && name != "EncryptionHash" {
				sum := sha256.Sum256(file.Content)
				others[name] = file.Timestamp.Format(time.RFC3339Nano) + " " + hex.EncodeToString(sum[:])
			}
		}
		config, state := files["EncryptionConfig"], files["EncryptionHash"]
		hash := sha256.Sum256(config.Content)
		return print(map[string]any{
			"rev": kv.ModRevision, "version": kv.Version, "create": kv.CreateRevision,
			"config": string(config.Content), "config_sha256": hex.EncodeToString(hash[:]),
			"state": string(state.Content), "config_time": config.Timestamp.Unix(), "state_time": state.Timestamp.Unix(),
			"others": others, "as_k3s_writes": bytes.Equal(again.Bytes(), plain), "salt": string(kv.Value[:16]),
		})
	})
}

// secrets prints the current secrets as the API server would serve them: the
// hash of the JSON of their data, type and resourceVersion.
func secrets(snapshot, config string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	loaded, err := transformers(ctx, config)
	if err != nil {
		return err
	}
	live := map[string]mvccpb.KeyValue{}
	err = eachRecord(snapshot, func(revision []byte, kv *mvccpb.KeyValue) error {
		if len(revision) == 18 {
			delete(live, string(kv.Key))
		} else if strings.HasPrefix(string(kv.Key), "/registry/secrets/") {
			kv.ModRevision = int64(binary.BigEndian.Uint64(revision[:8]))
			live[string(kv.Key)] = *kv
		}
		return nil
	})
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	decoder := protobuf.NewSerializer(scheme, scheme)
	for key, kv := range live {
		resource, _ := resourceOf(key, "/registry")
		plain, _, err := loaded.TransformerForResource(resource).TransformFromStorage(ctx, kv.Value, value.DefaultContext(kv.Key))
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		object, _, err := decoder.Decode(plain, nil, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		secret, ok := object.(*corev1.Secret)
		if !ok {
			return fmt.Errorf("%s: a %T", key, object)
		}
		data := secret.Data
		if data == nil {
			data = map[string][]byte{}
		}
		text, err := json.Marshal(data)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		err = print(map[string]any{
			"name": secret.Namespace + "/" + secret.Name, "type": string(secret.Type),
			"resourceVersion": fmt.Sprint(kv.ModRevision), "sha256": hex.EncodeToString(sum[:]),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
