// The story with Java: java Steps.java (connection | client) BASE IDLE_SECONDS
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;

public class Steps {
    interface Ask {
        void ask(String step, String url, byte[] data) throws Exception;
    }

    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    static void tell(String step, int status, byte[] body) throws Exception {
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(body);
        System.out.println(step + " " + status + " " + body.length + " " + HexFormat.of().formatHex(digest));
    }

    static void connection(String step, String url, byte[] data) throws Exception {
        HttpURLConnection http = (HttpURLConnection) new URL(url).openConnection();
        http.setReadTimeout(40000);
        if (data != null) {
            http.setRequestMethod("POST");
            http.setDoOutput(true);
            http.setFixedLengthStreamingMode(data.length);
            try (OutputStream out = http.getOutputStream()) {
                out.write(data);
            }
        }
        int status = http.getResponseCode();
        try (InputStream in = status < 400 ? http.getInputStream() : http.getErrorStream()) {
            tell(step, status, in.readAllBytes());
        }
    }

    static void client(String step, String url, byte[] data) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(40));
        if (data != null) {
            request.POST(HttpRequest.BodyPublishers.ofByteArray(data));
        }
        HttpResponse<byte[]> got = CLIENT.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
        tell(step, got.statusCode(), got.body());
    }

    public static void main(String[] args) throws Exception {
        Ask ask = args[0].equals("client") ? Steps::client : Steps::connection;
        String[] steps = {"kept", "again", "post", "refused", "closed"};
        int[] sizes = {0, 0, 300_000, 3_000_000, 0};
        for (int i = 0; i < steps.length; i++) {
            byte[] data = null;
            if (sizes[i] > 0) {
                data = new byte[sizes[i]];
                Arrays.fill(data, (byte) 'u');
            }
            try {
                ask.ask(steps[i], args[1] + "/" + steps[i], data);
            } catch (Exception error) {
                System.out.println(steps[i] + " error " + error);
            }
            if (steps[i].equals("kept") || steps[i].equals("closed")) {
                Thread.sleep((long) (Double.parseDouble(args[2]) * 1000));
            }
        }
        System.exit(0);
    }
}
