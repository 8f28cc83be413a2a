package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"k8s.io/apiserver/pkg/storage/value"
)

// openCopy opens a private copy of a bbolt file, which is removed with it.
func openCopy(file string, options *bolt.Options) (*bolt.DB, func(), error) {
	source, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer source.Close()
	private, err := os.CreateTemp("", "judge-*.db")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { os.Remove(private.Name()) }
	if _, err = io.Copy(private, source); err == nil {
		err = private.Close()
	}
	if err == nil {
		var db *bolt.DB
		if db, err = bolt.Open(private.Name(), 0o600, options); err == nil {
			return db, func() { db.Close(); remove() }, nil
		}
	}
	remove()
	return nil, nil, err
}

// values prints every entry of bucket key as kube-apiserver reads it.
func values(snapshot, config, prefix string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	loaded, err := transformers(ctx, config)
	if err != nil {
		return err
	}
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
			if len(revision) != 17 && len(revision) != 18 {
				return fmt.Errorf("a revision of %d bytes", len(revision))
			}
			var kv mvccpb.KeyValue
			if err := kv.Unmarshal(record); err != nil {
				return err
			}
			line := map[string]any{
				"key": string(kv.Key), "mod_revision": kv.ModRevision,
				"rev": binary.BigEndian.Uint64(revision[:8]), "sub": binary.BigEndian.Uint64(revision[9:17]),
			}
			if len(revision) == 18 {
				line["tombstone"] = true
				return print(line)
			}
			plain := kv.Value
			if resource, ok := resourceOf(string(kv.Key), prefix); ok {
				line["gr"] = resource.String()
				transformer := loaded.TransformerForResource(resource)
				opened, stale, err := transformer.TransformFromStorage(ctx, kv.Value, value.DefaultContext(kv.Key))
				if err != nil {
					line["error"] = err.Error()
					return print(line)
				}
				line["stale"] = stale
				plain = opened
			}
			sum := sha256.Sum256(plain)
			line["plain_len"], line["plain_sha256"] = len(plain), hex.EncodeToString(sum[:])
			return print(line)
		})
	})
}
