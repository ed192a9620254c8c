package localnode

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

// image is the image that tests name; its program is this test binary, told to be the program below.
const image = "example.com/program:test"

var config *rest.Config

func TestMain(m *testing.M) {
	if os.Getenv("LOCALNODE_PROGRAM") != "" {
		program()
		return
	}
	os.Exit(func() int {
		ctrl.SetLogger(logr.Discard())
		cluster, err := controlplane.Start()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		config = cluster.Config
		code := m.Run()
		if err := cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

// program is what containers run in these tests: it serves what it sees of its world, or exits as it is told.
func program() {
	listen := flag.String("listen", "", "address to serve on")
	exit := flag.Int("exit", -1, "exit with this code at once")
	flag.Parse()
	if *exit >= 0 {
		os.Exit(*exit)
	}
	started := time.Now()
	http.HandleFunc("/world", func(w http.ResponseWriter, _ *http.Request) {
		hostname, env := os.Getenv("HOSTNAME"), map[string]string{}
		for _, name := range []string{"PLAIN", "JOINED", "POD_IP", "NAMESPACE"} {
			env[name] = os.Getenv(name)
		}
		json.NewEncoder(w).Encode(world{Args: os.Args[1:], Env: env, PID: os.Getpid(), Started: started, Pod: hostname})
	})
	http.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		bytes, err := os.ReadFile(filepath.Join(flag.Arg(0), r.FormValue("name")))
		if err != nil {
			http.Error(w, "no such file", http.StatusNotFound)
			return
		}
		w.Write(bytes)
	})
	http.HandleFunc("PUT /file", func(_ http.ResponseWriter, r *http.Request) {
		bytes, _ := io.ReadAll(r.Body)
		os.WriteFile(filepath.Join(flag.Arg(0), r.FormValue("name")), bytes, 0o600)
	})
	http.HandleFunc("/whoami", func(w http.ResponseWriter, r *http.Request) {
		own, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		c, err := client.New(own, client.Options{})
		review := &authenticationv1.SelfSubjectReview{}
		if err == nil {
			err = c.Create(r.Context(), review)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, review.Status.UserInfo.Username)
	})
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	fmt.Println("serving on", *listen)
	fmt.Fprintln(os.Stderr, http.ListenAndServe(*listen, nil))
	os.Exit(1)
}

// world is what the program says of itself.
type world struct {
	Args    []string
	Env     map[string]string
	PID     int
	Started time.Time
	Pod     string
}

// fixture is a node, a namespace of its own, and a client with all rights.
type fixture struct {
	client.Client
	t         *testing.T
	node      *Node
	namespace string
	logs      string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{t: t, logs: filepath.Join(dir, "logs")}
	var err error
	if f.Client, err = client.New(config, client.Options{}); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "localnode-"}}
	f.create(namespace)
	f.namespace = namespace.Name
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f.node, err = Start(t.Context(), Options{
		Config: config, Images: map[string]string{image: program}, Dir: filepath.Join(dir, "node"), LogDir: f.logs, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// What this test made would be run again by the node of the next one.
		for _, kind := range collected {
			all := &metav1.PartialObjectMetadata{}
			all.SetGroupVersionKind(kind)
			if err := f.DeleteAllOf(context.Background(), all, client.InNamespace(f.namespace), client.GracePeriodSeconds(0)); err != nil && kind.Kind != "Service" {
				t.Error(err)
			}
		}
		if err := f.node.Stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) create(object client.Object) {
	f.t.Helper()
	if object.GetNamespace() == "" {
		object.SetNamespace(f.namespace)
	}
	if err := f.Create(f.t.Context(), object); err != nil {
		f.t.Fatal(err)
	}
}

// eventually asks again and again until nothing is wrong any more.
func (f *fixture) eventually(what string, check func() error) {
	f.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(f.t.Context(), 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		f.t.Fatalf("%s: %v", what, last)
	}
}

// ready waits until a pod is ready, and returns it.
func (f *fixture) ready(name string) *corev1.Pod {
	f.t.Helper()
	pod := &corev1.Pod{}
	f.eventually("pod "+name+" becomes ready", func() error {
		if err := f.Get(f.t.Context(), client.ObjectKey{Namespace: f.namespace, Name: name}, pod); err != nil {
			return err
		}
		if !Ready(pod) {
			return fmt.Errorf("%s", Trouble(pod))
		}
		return nil
	})
	return pod
}

// get asks a program over HTTP. A pod without a readiness probe is ready before its program listens: call world first.
func (f *fixture) get(address, path string) (status int, body string) {
	f.t.Helper()
	response, err := http.Get("http://" + address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	bytes, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(bytes)
}

// podLog is what `kubectl logs` prints.
func (f *fixture) podLog(pod, container string) string {
	f.t.Helper()
	api, err := rest.HTTPClientFor(config)
	if err != nil {
		f.t.Fatal(err)
	}
	response, err := api.Get(strings.TrimSuffix(config.Host, "/") + "/api/v1/namespaces/" + f.namespace + "/pods/" + pod + "/log?tailLines=1&container=" + container)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	bytes, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(bytes)
}

func (f *fixture) world(address string) world {
	f.t.Helper()
	var w world
	f.eventually("program at "+address+" answers", func() error {
		_, body := f.get(address, "/world")
		return json.Unmarshal([]byte(body), &w)
	})
	return w
}

// podOf is a pod with one container that serves on port 8080 of its address.
func podOf(name string, change ...func(*corev1.PodSpec)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(2)),
			Containers: []corev1.Container{{
				Name: "app", Image: image, Args: []string{"--listen=$(POD_IP):8080"},
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
				Env:   []corev1.EnvVar{asProgram, podIP},
			}},
		},
	}
	for _, change := range change {
		change(&pod.Spec)
	}
	return pod
}

var (
	asProgram = corev1.EnvVar{Name: "LOCALNODE_PROGRAM", Value: "yes"}
	podIP     = corev1.EnvVar{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}
)
