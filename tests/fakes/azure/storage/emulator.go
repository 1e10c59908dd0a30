package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// Emulator is Azurite as a process of this one, over TLS, at a port that it chose.
type Emulator struct {
	Address     string
	Certificate tls.Certificate // which the front shows too
	Roots       *x509.CertPool  // which trusts it
	Ended       chan error
	process     *os.Process
}

var listening = regexp.MustCompile(`listens on https://127\.0\.0\.1:([1-9][0-9]*)`)

// StartEmulator returns when it answers. Its certificate is for `host` too. The process ends with this one, however that ends.
func StartEmulator(npm, directory string, memory bool, account *Account, host string) (*Emulator, error) {
	certificate, key, err := makeCertificate(host)
	if err != nil {
		return nil, err
	}
	emulator := &Emulator{Ended: make(chan error, 1), Roots: x509.NewCertPool()}
	emulator.Roots.AppendCertsFromPEM(certificate)
	if emulator.Certificate, err = tls.X509KeyPair(certificate, key); err != nil {
		return nil, err
	}
	// Both through pipes: there is no file of them that could stay behind.
	certificatePipe, err := pipeWith(certificate)
	if err != nil {
		return nil, err
	}
	defer certificatePipe.Close()
	keyPipe, err := pipeWith(key)
	if err != nil {
		return nil, err
	}
	defer keyPipe.Close()
	program := filepath.Join(npm, "node_modules", "azurite", "dist", "src", "blob", "main.js")
	// Azure's SDK is newer than the emulator, and speaks a later version.
	arguments := []string{program, "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", "0", "--disableTelemetry",
		"--disableProductStyleUrl", "--oauth", "basic", "--cert", "/dev/fd/3", "--key", "/dev/fd/4", "--silent"}
	if memory {
		arguments = append(arguments, "--inMemoryPersistence")
	} else {
		arguments = append(arguments, "--location", directory)
	}
	command := exec.Command("node", arguments...)
	command.Dir = directory
	command.ExtraFiles = []*os.File{certificatePipe, keyPipe}
	command.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+account.Name+":"+account.Key())
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("node does not start (deploy/install-deps installs it): %w", err)
	}
	emulator.process = command.Process
	if err := emulator.awaitReady(output); err != nil {
		emulator.Stop()
		return nil, err
	}
	go func() { emulator.Ended <- command.Wait() }()
	return emulator, nil
}

// The end to read `content` from, which a pipe holds.
func pipeWith(content []byte) (*os.File, error) {
	reading, writing, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer writing.Close()
	if _, err := writing.Write(content); err != nil {
		reading.Close()
		return nil, err
	}
	return reading, nil
}

func (emulator *Emulator) awaitReady(output io.Reader) error {
	lines, said := bufio.NewScanner(output), ""
	for lines.Scan() {
		said += lines.Text() + "\n"
		if found := listening.FindStringSubmatch(lines.Text()); found != nil {
			emulator.Address = "127.0.0.1:" + found[1]
			go io.Copy(io.Discard, output)
			return nil
		}
	}
	return fmt.Errorf("Azurite did not say where it listens; it said: %s", said)
}

// Stop ends it.
func (emulator *Emulator) Stop() { emulator.process.Kill() }

// A certificate for this host and `host`, if that is an address, that is its own authority, and its key; both PEM.
func makeCertificate(host string) ([]byte, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "fake azure storage"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if address := net.ParseIP(host); address != nil {
		template.IPAddresses = append(template.IPAddresses, address)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDer, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDer}), nil
}
