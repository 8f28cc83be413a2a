// Command judge says what Kubernetes' and bbolt's own code make of a file. It
// shares nothing with the program it judges. Each verb prints JSON lines.
//
//	judge values SNAPSHOT CONFIG [ETCD-PREFIX]   every revision, opened by kube-apiserver's transformers
//	judge load CONFIG...                         accepted or refused by kube-apiserver's loader
//	judge writer CONFIG RESOURCE...              the prefix kube-apiserver writes for a resource
//	judge batch                                  seals and opens values, as asked on standard input
//	judge check FILE [OPERATIONS SEED]           bbolt's check, and again after random reads and writes
//	judge records SNAPSHOT                       the record of a K3s cluster in every revision; passphrase on standard input
//	judge secrets SNAPSHOT CONFIG                the current secrets, as the API server would serve them
//	judge dump FILE                              every bucket, key and value, hashed
//	judge make OUT SEED                          a random valid bbolt file
//	judge plugin v1|v2 SOCKET [FLAG...]          a KMS plugin, until it is ended; each call is told
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// out buffers the JSON lines.
var out = bufio.NewWriterSize(os.Stdout, 1<<20)

func print(value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return err
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		out.Flush()
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
	if err := out.Flush(); err != nil {
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("which verb?")
	}
	verb, args := args[0], args[1:]
	need := func(n int) error {
		if len(args) < n {
			return fmt.Errorf("%s: %d arguments are needed", verb, n)
		}
		return nil
	}
	switch verb {
	case "values":
		if err := need(2); err != nil {
			return err
		}
		prefix := "/registry"
		if len(args) > 2 {
			prefix = args[2]
		}
		return values(args[0], args[1], prefix)
	case "load":
		return load(args)
	case "writer":
		if err := need(1); err != nil {
			return err
		}
		return writer(args[0], args[1:])
	case "batch":
		return batch()
	case "check":
		if err := need(1); err != nil {
			return err
		}
		return check(args[0], args[1:])
	case "records":
		if err := need(1); err != nil {
			return err
		}
		return records(args[0])
	case "secrets":
		if err := need(2); err != nil {
			return err
		}
		return secrets(args[0], args[1])
	case "dump":
		if err := need(1); err != nil {
			return err
		}
		return dump(args[0])
	case "make":
		if err := need(2); err != nil {
			return err
		}
		return makeBolt(args[0], args[1])
	case "plugin":
		return play(args)
	}
	return fmt.Errorf("no verb %q", verb)
}
