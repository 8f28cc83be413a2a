package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/kms/apis/v1beta1"
	"k8s.io/kms/pkg/service"
)

// plugin is a KMS plugin for tests. Its key-encryption keys are the SHA-256 of
// "kube-lab-kms-" and their id; what they seal is a 12-byte nonce and AES-GCM,
// and for v1 the key id and a bar in front of that. Each call is told on
// standard output at once, with how many were under way.
type plugin struct {
	mu       sync.Mutex
	calls    int
	under    int
	key      string
	known    map[string]bool
	healthz  string
	version  string
	garbage  string
	refuse   codes.Code
	refuseIf string
	after    int
	failing  int
	dieAfter int
	change   int
	changeTo string
	sleep    time.Duration
	sleeping int
}

// play serves a plugin of version v1 or v2 on a socket until it is ended.
func play(args []string) error {
	flags := flag.NewFlagSet("plugin", flag.ContinueOnError)
	p := plugin{}
	known := flags.String("known", "", "key ids it opens besides -key, by commas")
	refuse := flags.String("refuse", "", "answer with this code")
	flags.StringVar(&p.key, "key", "1", "the id of the key that seals")
	flags.StringVar(&p.healthz, "healthz", "ok", "what Status says")
	flags.StringVar(&p.version, "version", "", "what Status or Version says")
	flags.StringVar(&p.garbage, "garbage", "", "nonsense to answer with: short, empty, wrong, no-id, huge")
	flags.StringVar(&p.refuseIf, "refuse-only", "", "refuse these calls alone: Decrypt, Encrypt, Status, Version")
	flags.IntVar(&p.after, "after", 0, "refuse after so many calls")
	flags.IntVar(&p.failing, "failing", 0, "be unavailable for the first so many calls")
	flags.IntVar(&p.dieAfter, "die-after", 0, "end without an answer to the call after so many")
	flags.IntVar(&p.change, "change-after", 0, "seal with another key after so many calls")
	flags.StringVar(&p.changeTo, "change-to", "other", "that key")
	flags.DurationVar(&p.sleep, "sleep", 0, "how long an answer takes")
	flags.IntVar(&p.sleeping, "sleeping", 1<<30, "for how many calls")
	if len(args) < 2 {
		return fmt.Errorf("plugin: a version and a socket are needed")
	}
	if err := flags.Parse(args[2:]); err != nil {
		return err
	}
	p.known = map[string]bool{p.key: true}
	for _, id := range strings.Split(*known, ",") {
		p.known[id] = true
	}
	if *refuse != "" {
		if err := p.refuse.UnmarshalJSON([]byte(`"` + *refuse + `"`)); err != nil {
			return err
		}
	}
	go func() {
		for range 1000 {
			if conn, err := net.Dial("unix", args[1]); err == nil {
				conn.Close()
				p.mu.Lock()
				defer p.mu.Unlock()
				tell(map[string]any{"ready": true})
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	switch args[0] {
	case "v2":
		return service.NewGRPCService(args[1], 5*time.Second, &v2{&p}).ListenAndServe()
	case "v1":
		listener, err := net.Listen("unix", args[1])
		if err != nil {
			return err
		}
		server := grpc.NewServer()
		v1beta1.RegisterKeyManagementServiceServer(server, &v1{plugin: &p})
		return server.Serve(listener)
	}
	return fmt.Errorf("plugin: no version %q", args[0])
}

// tell prints a line at once.
func tell(line map[string]any) {
	if print(line) != nil || out.Flush() != nil {
		os.Exit(1)
	}
}

// begin counts a call, and misbehaves where it is to.
func (p *plugin) begin(call string, more map[string]any) error {
	p.mu.Lock()
	p.calls++
	p.under++
	number, sleep := p.calls, p.calls <= p.sleeping
	line := map[string]any{"call": call, "under": p.under}
	for name, value := range more {
		line[name] = value
	}
	tell(line)
	if p.dieAfter > 0 && number > p.dieAfter {
		os.Exit(3)
	}
	if p.change > 0 && number > p.change {
		p.key = p.changeTo
		p.known[p.key] = true
	}
	p.mu.Unlock()
	if sleep {
		time.Sleep(p.sleep)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.under--
	if number <= p.failing {
		return status.Error(codes.Unavailable, "not yet")
	}
	if p.refuse != codes.OK && number > p.after && (p.refuseIf == "" || p.refuseIf == call) {
		return status.Error(p.refuse, "not for you\x1b[2J")
	}
	return nil
}

// current is the id of the key that seals.
func (p *plugin) current() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.garbage == "no-id" {
		return ""
	}
	return p.key
}

func gcm(id string) (cipher.AEAD, error) {
	key := sha256.Sum256([]byte("kube-lab-kms-" + id))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (p *plugin) seal(id string, plain []byte) ([]byte, error) {
	switch p.garbage {
	case "empty":
		return nil, nil
	case "huge":
		return make([]byte, 70000), nil
	case "wrong":
		plain = bytes.Repeat([]byte{7}, len(plain))
	}
	aead, err := gcm(id)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, plain, nil), nil
}

func (p *plugin) open(id string, sealed []byte) ([]byte, error) {
	switch p.garbage {
	case "short":
		return []byte("short"), nil
	case "empty":
		return nil, nil
	case "wrong":
		return bytes.Repeat([]byte{7}, 32), nil
	}
	p.mu.Lock()
	known := p.known[id]
	p.mu.Unlock()
	if !known {
		return nil, status.Errorf(codes.NotFound, "there is no key %q", id)
	}
	aead, err := gcm(id)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, status.Error(codes.InvalidArgument, "too short")
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], nil)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return plain, nil
}

// annotation is what the plugin wants to see again.
const annotation = "alg.lab.example.com"

// v2 is the plugin as k8s.io/kms' own library serves it.
type v2 struct{ *plugin }

func (p *v2) Status(context.Context) (*service.StatusResponse, error) {
	if err := p.begin("Status", nil); err != nil {
		return nil, err
	}
	version := p.version
	if version == "" {
		version = "v2"
	}
	return &service.StatusResponse{Version: version, Healthz: p.healthz, KeyID: p.current()}, nil
}

func (p *v2) Encrypt(_ context.Context, uid string, data []byte) (*service.EncryptResponse, error) {
	if err := p.begin("Encrypt", map[string]any{"uid": uid, "bytes": len(data)}); err != nil {
		return nil, err
	}
	id := p.current()
	sealed, err := p.seal(id, data)
	if err != nil {
		return nil, err
	}
	return &service.EncryptResponse{Ciphertext: sealed, KeyID: id, Annotations: map[string][]byte{annotation: []byte("gcm")}}, nil
}

func (p *v2) Decrypt(_ context.Context, uid string, req *service.DecryptRequest) ([]byte, error) {
	if err := p.begin("Decrypt", map[string]any{"uid": uid, "id": req.KeyID}); err != nil {
		return nil, err
	}
	if string(req.Annotations[annotation]) != "gcm" {
		return nil, status.Error(codes.InvalidArgument, "the annotation is missing")
	}
	return p.open(req.KeyID, req.Ciphertext)
}

// v1 is the plugin of the older interface.
type v1 struct {
	v1beta1.UnsafeKeyManagementServiceServer
	plugin *plugin
}

func (p *v1) Version(context.Context, *v1beta1.VersionRequest) (*v1beta1.VersionResponse, error) {
	if err := p.plugin.begin("Version", nil); err != nil {
		return nil, err
	}
	version := p.plugin.version
	if version == "" {
		version = "v1beta1"
	}
	return &v1beta1.VersionResponse{Version: version, RuntimeName: "lab", RuntimeVersion: "0.1.0"}, nil
}

func (p *v1) Encrypt(_ context.Context, req *v1beta1.EncryptRequest) (*v1beta1.EncryptResponse, error) {
	if err := p.plugin.begin("Encrypt", map[string]any{"bytes": len(req.Plain), "version": req.Version}); err != nil {
		return nil, err
	}
	id := p.plugin.current()
	sealed, err := p.plugin.seal(id, req.Plain)
	if err != nil {
		return nil, err
	}
	if len(sealed) > 0 {
		sealed = append([]byte(id+"|"), sealed...)
	}
	return &v1beta1.EncryptResponse{Cipher: sealed}, nil
}

func (p *v1) Decrypt(_ context.Context, req *v1beta1.DecryptRequest) (*v1beta1.DecryptResponse, error) {
	id, sealed, _ := strings.Cut(string(req.Cipher), "|")
	if err := p.plugin.begin("Decrypt", map[string]any{"id": id, "version": req.Version}); err != nil {
		return nil, err
	}
	plain, err := p.plugin.open(id, []byte(sealed))
	if err != nil {
		return nil, err
	}
	return &v1beta1.DecryptResponse{Plain: plain}, nil
}
