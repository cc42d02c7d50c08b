// Java's java.net.http as a client; see README.md.
//
//     java Client URL SCENARIO [ARGUMENT...]

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Client {
    static final int KEPT = 4;
    static final Duration TIMEOUT = Duration.ofSeconds(30);
    static HttpClient client;
    static String base;

    // Whom the client trusts: the certificates in the file CLIENT_CA, or whoever is by default.
    static SSLContext trust() throws Exception {
        String path = System.getenv("CLIENT_CA");
        if (path == null) {
            return SSLContext.getDefault();
        }
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null);
        try (InputStream file = Files.newInputStream(Path.of(path))) {
            trusted.setCertificateEntry(
                    "ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory managers =
                TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    static String quoted(String text) {
        StringBuilder found = new StringBuilder("\"");
        for (char each : text.toCharArray()) {
            if (each == '"' || each == '\\' || each < ' ') {
                found.append(String.format("\\u%04x", (int) each));
            } else {
                found.append(each);
            }
        }
        return found.append('"').toString();
    }

    static HttpResponse<String> ask(String method, String path, BodyPublisher body,
            boolean expects) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(base + path))
                .method(method, body).expectContinue(expects).timeout(TIMEOUT).build();
        return client.send(request, HttpResponse.BodyHandlers.ofString());
    }

    static void tell(String path, BodyPublisher body, AtomicBoolean sent)
            throws InterruptedException {
        try {
            HttpResponse<String> answer = ask("POST", path, body, sent != null);
            System.out.println("{\"status\": " + answer.statusCode()
                    + (sent == null ? "" : ", \"sent\": " + sent.get())
                    + ", \"body\": " + quoted(answer.body()) + "}");
        } catch (IOException error) {
            System.out.println("{\"error\": " + quoted(path + ": " + error) + "}");
        }
    }

    static void small() throws InterruptedException {
        tell("/upload", BodyPublishers.ofString("small"), null);
    }

    static void early(String paths, int size, String framing) throws InterruptedException {
        for (String path : paths.split(",")) {
            byte[] data = new byte[size];
            tell(path, framing.equals("sized") ? BodyPublishers.ofByteArray(data)
                    : BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(data)), null);
            small();
        }
    }

    static void expect(String paths, int size) throws InterruptedException {
        for (String path : paths.split(",")) {
            AtomicBoolean sent = new AtomicBoolean();
            InputStream data = new ByteArrayInputStream(new byte[size]);
            tell(path, BodyPublishers.fromPublisher(BodyPublishers.ofInputStream(() -> new InputStream() {
                @Override
                public int read() throws IOException {
                    sent.set(true);
                    return data.read();
                }

                @Override
                public int read(byte[] target, int start, int most) throws IOException {
                    sent.set(true);
                    return data.read(target, start, most);
                }
            }), size), sent);
            small();
        }
    }

    // There is no public reader of answers: the frame of the few chunks is taken off here.
    static void halfClose() throws IOException {
        URI uri = URI.create(base);
        try (Socket socket = new Socket(uri.getHost(), uri.getPort())) {
            socket.setSoTimeout((int) TIMEOUT.toMillis());
            socket.getOutputStream().write(
                    "GET /slow HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
                    .getBytes(StandardCharsets.US_ASCII));
            socket.shutdownOutput();
            String found = new String(
                    socket.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
            String[] parts = found.split("\r\n\r\n", 2);
            if (parts.length < 2) {
                System.out.println("{\"error\": " + quoted("received " + found) + "}");
                return;
            }
            StringBuilder body = new StringBuilder();
            String[] lines = parts[1].split("\r\n");
            for (int number = 1; number < lines.length; number += 2) {
                body.append(lines[number]);
            }
            System.out.println("{\"status\": " + parts[0].split(" ")[1]
                    + ", \"body\": " + quoted(body.toString()) + "}");
        }
    }

    static void check(String method, String path, String body, String wanted,
            List<String> failures) throws InterruptedException {
        String found;
        try {
            HttpResponse<String> answer = ask(
                    method, path, BodyPublishers.ofString(body), false);
            found = answer.statusCode() + " " + answer.body();
        } catch (IOException error) {
            found = method + " " + error;
        }
        if (!found.equals("200 " + wanted)) {
            synchronized (failures) {
                failures.add(quoted(found));
            }
        }
    }

    static void renewal() throws Exception {
        AtomicBoolean ended = new AtomicBoolean();
        AtomicInteger requests = new AtomicInteger();
        List<String> failures = new ArrayList<>();
        List<Thread> threads = new ArrayList<>();
        for (int number = 0; number < KEPT; number++) {
            boolean first = number == 0;
            Thread thread = new Thread(() -> {
                try {
                    for (int turn = 1; !ended.get(); turn++) {
                        check("GET", "/", "", "Hello world!", failures);
                        check("POST", "/upload", "small", "5", failures);
                        requests.addAndGet(2);
                        if (first && turn % 10 == 0) {
                            System.out.println("more");
                        }
                    }
                } catch (InterruptedException error) {
                    throw new RuntimeException(error);
                }
            });
            threads.add(thread);
            thread.start();
        }
        System.in.readAllBytes();
        ended.set(true);
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println(
                "{\"requests\": " + requests + ", \"failures\": " + failures + "}");
    }

    public static void main(String[] arguments) throws Exception {
        base = arguments[0];
        client = HttpClient.newBuilder().sslContext(trust())
                .version(HttpClient.Version.HTTP_1_1).connectTimeout(TIMEOUT).build();
        switch (arguments[1]) {
            case "early":
                early(arguments[2], Integer.parseInt(arguments[3]), arguments[4]);
                break;
            case "expect":
                expect(arguments[2], Integer.parseInt(arguments[3]));
                break;
            case "half-close":
                halfClose();
                break;
            case "renewal":
                renewal();
                break;
        }
    }
}
