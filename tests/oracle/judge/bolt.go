package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand"
	"os"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

// faults runs bbolt's check; its panics are faults too.
func faults(db *bolt.DB) (found []string, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			found = append(found, fmt.Sprint("panic: ", cause))
		}
	}()
	err = db.View(func(tx *bolt.Tx) error {
		for fault := range tx.Check() {
			found = append(found, fault.Error())
		}
		return nil
	})
	return found, err
}

// check prints bbolt's verdict on a file, before and after a storm of writes.
func check(file string, args []string) (err error) {
	os.Setenv("BBOLT_VERIFY", "all")
	verdict := map[string]any{"ok": false}
	defer func() {
		if cause := recover(); cause != nil {
			verdict["errors"] = []string{fmt.Sprint("panic: ", cause)}
			err = print(verdict)
		}
	}()
	// As etcd opens it: the free list is made anew and never stored.
	db, done, err := openCopy(file, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoSync: true})
	if err != nil {
		verdict["errors"] = []string{err.Error()}
		return print(verdict)
	}
	defer done()
	found, err := faults(db)
	if err != nil {
		return err
	}
	operations := 0
	if len(found) == 0 && len(args) > 0 {
		if operations, err = strconv.Atoi(args[0]); err != nil {
			return err
		}
		seed := int64(1)
		if len(args) > 1 {
			if seed, err = strconv.ParseInt(args[1], 10, 64); err != nil {
				return err
			}
		}
		if err := storm(db, operations, rand.New(rand.NewSource(seed))); err != nil {
			return err
		}
		if found, err = faults(db); err != nil {
			return err
		}
	}
	verdict["ok"], verdict["errors"], verdict["operations"] = len(found) == 0, found, operations
	return print(verdict)
}

// revisionKey is a key of bucket key.
func revisionKey(main uint64) []byte {
	key := make([]byte, 17)
	binary.BigEndian.PutUint64(key, main)
	key[8] = '_'
	return key
}

// storm puts, overwrites and deletes in bucket key as etcd could: at its head,
// middle and tail, singly and in whole ranges, in transactions of any size.
func storm(db *bolt.DB, operations int, random *rand.Rand) error {
	var keys [][]byte
	err := db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte("key"))
		if bucket == nil {
			return fmt.Errorf("no bucket key")
		}
		return bucket.ForEach(func(key, _ []byte) error {
			keys = append(keys, append([]byte{}, key...))
			return nil
		})
	})
	if err != nil {
		return err
	}
	next := uint64(1 << 40)
	for operations > 0 {
		err := db.Update(func(tx *bolt.Tx) error {
			bucket := tx.Bucket([]byte("key"))
			for range 1 + random.Intn(200) {
				operations--
				value := make([]byte, random.Intn(3000))
				if random.Intn(50) == 0 {
					value = make([]byte, random.Intn(40000))
				}
				switch choice := random.Intn(10); {
				case choice < 4 || len(keys) < 10:
					next++
					keys = append(keys, revisionKey(next))
					if err := bucket.Put(keys[len(keys)-1], value); err != nil {
						return err
					}
				case choice < 6:
					if err := bucket.Put(keys[random.Intn(len(keys))], value); err != nil {
						return err
					}
				default:
					// Where, and how many at once: mostly one, at times a compaction.
					count := 1
					if random.Intn(20) == 0 {
						count = 1 + random.Intn(len(keys)/3)
					}
					at := []int{0, len(keys) - count, random.Intn(len(keys) - count + 1)}[random.Intn(3)]
					for _, key := range keys[at : at+count] {
						if err := bucket.Delete(key); err != nil {
							return err
						}
					}
					keys = append(keys[:at:at], keys[at+count:]...)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dump prints every bucket with its sequence, and every key and value, hashed.
func dump(file string) error {
	db, done, err := openCopy(file, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer done()
	hash := func(bytes []byte) string {
		sum := sha256.Sum256(bytes)
		return hex.EncodeToString(sum[:8])
	}
	return db.View(func(tx *bolt.Tx) error {
		var walk func(path string, bucket *bolt.Bucket) error
		walk = func(path string, bucket *bolt.Bucket) error {
			if err := print(map[string]any{"bucket": path, "sequence": bucket.Sequence()}); err != nil {
				return err
			}
			return bucket.ForEach(func(key, value []byte) error {
				if value == nil {
					return walk(path+"/"+hex.EncodeToString(key), bucket.Bucket(key))
				}
				return print(map[string]any{"bucket": path, "key": hash(key), "value": hash(value), "bytes": len(value)})
			})
		}
		return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
			return walk(hex.EncodeToString(name), bucket)
		})
	})
}

// makeBolt makes a random file with a bucket key that etcd could have made,
// and others that it could not.
func makeBolt(file, seed string) error {
	number, err := strconv.ParseInt(seed, 10, 64)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewSource(number))
	types := []bolt.FreelistType{bolt.FreelistArrayType, bolt.FreelistMapType}
	options := bolt.Options{
		PageSize:       []int{1024, 4096, 16384, 65536}[random.Intn(4)],
		FreelistType:   types[random.Intn(2)],
		NoFreelistSync: random.Intn(2) == 0,
		NoSync:         true,
	}
	db, err := bolt.Open(file, 0o600, &options)
	if err != nil {
		return err
	}
	bytes := func(most int) []byte {
		value := make([]byte, random.Intn(most+1))
		random.Read(value)
		return value
	}
	main := uint64(1)
	for range 1 + random.Intn(12) {
		err := db.Update(func(tx *bolt.Tx) error {
			keys, err := tx.CreateBucketIfNotExists([]byte("key"))
			if err != nil {
				return err
			}
			keys.FillPercent = []float64{0.1, 0.5, 0.9, 1}[random.Intn(4)]
			for range random.Intn(300) {
				main++
				kv := record(random, main, bytes)
				if err := keys.Put(revisionKey(main), kv); err != nil {
					return err
				}
			}
			for range random.Intn(100) {
				if err := keys.Delete(revisionKey(1 + random.Uint64()%main)); err != nil {
					return err
				}
			}
			return others(tx, random, bytes)
		})
		if err != nil {
			return err
		}
	}
	return db.Close()
}

// others fills buckets that are not etcd's, nested ones too.
func others(tx *bolt.Tx, random *rand.Rand, bytes func(int) []byte) error {
	name := []byte{byte('p' + random.Intn(6))}
	bucket, err := tx.CreateBucketIfNotExists(name)
	if err != nil {
		return err
	}
	for range random.Intn(4) {
		if bucket, err = bucket.CreateBucketIfNotExists([]byte{byte('a' + random.Intn(3))}); err != nil {
			return err
		}
		if err := bucket.SetSequence(random.Uint64()); err != nil {
			return err
		}
		for range random.Intn(60) {
			key := append([]byte{'0'}, bytes(200)...)
			if err := bucket.Put(key, bytes([]int{0, 20, 500, 9000}[random.Intn(4)])); err != nil {
				return err
			}
		}
	}
	return nil
}

// record is a KeyValue of a key that is no Kubernetes', so that it stays.
func record(random *rand.Rand, main uint64, bytes func(int) []byte) []byte {
	out := append([]byte{0x0a, 2}, '/', byte('a'+random.Intn(26)))
	for _, tag := range []byte{0x10, 0x18} {
		out = binary.AppendUvarint(append(out, tag), main)
	}
	value := bytes([]int{0, 100, 2000, 30000}[random.Intn(4)])
	out = binary.AppendUvarint(append(out, 0x2a), uint64(len(value)))
	return append(out, value...)
}
