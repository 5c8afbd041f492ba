// The six calls through com.segment.analytics.java:analytics. argv: settings as in six_calls.py. Prints {"errors": [...]}.
import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.segment.analytics.Analytics;
import com.segment.analytics.Callback;
import com.segment.analytics.messages.*;
import com.segment.backo.Backo;
import java.lang.reflect.Field;
import java.util.*;
import java.util.concurrent.*;
import okhttp3.OkHttpClient;

public class SixCalls {
  public static void main(String[] arguments) throws Exception {
    JsonObject settings = JsonParser.parseString(arguments[0]).getAsJsonObject();
    List<String> errors = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch ended = new CountDownLatch(6);
    OkHttpClient http = new OkHttpClient.Builder()
        .readTimeout(settings.get("timeout").getAsInt(), TimeUnit.SECONDS).build();
    Analytics analytics = Analytics.builder(settings.get("writeKey").getAsString())
        .endpoint(settings.get("host").getAsString())
        .client(http)
        .networkExecutor(new Impatient())
        .retries(settings.get("retries").getAsInt())
        .flushQueueSize(3)
        .callback(new Callback() {
          @Override public void success(Message message) {
            ended.countDown();
          }

          @Override public void failure(Message message, Throwable error) {
            errors.add(String.valueOf(error));
            ended.countDown();
          }
        })
        .build();
    analytics.enqueue(IdentifyMessage.builder().userId("u1")
        .traits(Map.of("email", "ada@example.com", "born", new Date(0))));
    Map<String, Object> properties = new HashMap<>();
    properties.put("revenue", 12.5);
    properties.put("big", 1234567890123456789L);
    properties.put("products", List.of(Map.of("sku", "a", "q", 1)));
    properties.put("ü", "ß\u2028");
    analytics.enqueue(TrackMessage.builder("Order Completed").userId("u1").anonymousId("a1")
        .properties(properties).context(Map.of("locale", "en-GB")).enableIntegration("Amplitude", false));
    analytics.enqueue(PageMessage.builder("Java").userId("u1").properties(Map.of("url", "https://example.com/")));
    analytics.enqueue(ScreenMessage.builder("Settings").anonymousId("a1").properties(Map.of("dark", true)));
    analytics.enqueue(GroupMessage.builder("g1").userId("u1").traits(Map.of("name", "ACME")));
    analytics.enqueue(AliasMessage.builder("a1").userId("u1"));
    analytics.flush();
    boolean all = ended.await(25, TimeUnit.SECONDS);
    analytics.shutdown();
    http.dispatcher().executorService().shutdown();
    http.connectionPool().evictAll();
    if (!all) throw new IllegalStateException(ended.getCount() + " events have had no outcome");
    System.out.println(new Gson().toJson(Map.of("errors", errors)));
  }

  /** Runs uploads as the client's own executor does, but with waits between retries of 0.1 s, not of up to 30 s:
   * the client has no setting for them. */
  static class Impatient extends ThreadPoolExecutor {
    Impatient() {
      super(1, 1, 0, TimeUnit.SECONDS, new LinkedBlockingQueue<>());
    }

    @Override public Future<?> submit(Runnable upload) {
      try {
        Field backo = upload.getClass().getDeclaredField("backo");
        backo.setAccessible(true);
        backo.set(upload, Backo.builder().base(TimeUnit.MILLISECONDS, 100).build());
      } catch (ReflectiveOperationException error) {
        throw new IllegalStateException("this version of the client waits otherwise", error);
      }
      return super.submit(upload);
    }
  }
}
